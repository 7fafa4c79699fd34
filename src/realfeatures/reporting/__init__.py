"""What an experiment found: results.json, its tables, figures and the report."""

from realfeatures.reporting.earlier import NamedRun, earlier_results
from realfeatures.reporting.report import write_report
from realfeatures.reporting.terminal import summary_tables

__all__ = ["NamedRun", "earlier_results", "summary_tables", "write_report"]
