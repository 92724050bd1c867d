"""Compares Leadterra's counters with the ledger, and says what is missing, since when, why, and for how long."""
