"""HTTP: the webhook, the figures, and what surrounds them. Handlers are methods of small classes."""
