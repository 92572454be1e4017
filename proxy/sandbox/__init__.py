"""A local stand-in for Trustpilot with sample data, for first runs, demos and tests."""

BUSINESS_UNIT = "66ea0530c0ffee0000000001"
SECOND_BUSINESS_UNIT = "66ea0530c0ffee0000000002"
API_KEY = "sandbox-key"
API_SECRET = "sandbox-secret"  # noqa: S105  # known to everyone, guards sample data
