"""Metrics of what the rooms report, and how log lines look."""
