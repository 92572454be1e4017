"""What the project is measured, fuzzed and packed with; run by ``make``, never installed."""
