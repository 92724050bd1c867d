"""Takes Leadterra's webhooks in durably and serves figures that say how far they can be trusted."""

__version__ = "0.1.0"
