"""The dashboard: pages for people who would rather look than read, over the same answers as everybody gets."""
