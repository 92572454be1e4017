"""Copies of what is cached, as files: rows for a Braze catalog, or the answer for each product."""
