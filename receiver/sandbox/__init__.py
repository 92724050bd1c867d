"""Plays Leadterra: a workspace on a clock that can go faster, and that can be broken on purpose."""
