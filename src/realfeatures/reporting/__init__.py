"""What an experiment found: results.json, its tables, figures and the report."""
