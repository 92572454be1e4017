"""A Connected Content proxy between Braze and Trustpilot."""
