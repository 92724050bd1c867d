"""Benchmarks: reports that compare within one run; nothing here is a timed test."""
