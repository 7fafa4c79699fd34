"""The report: one file a section, with its words, its table and its figure."""
