"""A local stand-in for Trustpilot with sample data, for first runs, demos and tests."""
