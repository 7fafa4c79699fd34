"""What an experiment found: results.json, its tables, figures and the report."""

from realfeatures.reporting.report import write_report
from realfeatures.reporting.terminal import summary_tables

__all__ = ["summary_tables", "write_report"]
