"""Labelled image sets: where they come from, how they are checked, decoded and kept."""
