"""Intervals, the paired bootstrap, and p-values."""
