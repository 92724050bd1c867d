"""All that knows Leadterra's wire form: signatures, payloads, and its API."""
