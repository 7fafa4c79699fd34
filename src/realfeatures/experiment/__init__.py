"""The experiment as data: what is measured, on which cells, with which values, and which claims; imports no torch."""
