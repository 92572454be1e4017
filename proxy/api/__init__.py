"""What callers see: credentials, parameters, problems, and one module per group of endpoints."""
