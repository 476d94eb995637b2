"""`atlas report`: the findings of an atlas as a document of its own, each with the SQL that it is read from."""

from web.report.write import ReportError, write_report

__all__ = ["ReportError", "write_report"]
