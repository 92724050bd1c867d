"""All that knows Leadterra's wire form: signatures, payloads."""
