"""How hard to try: the same few examples in every ``make test``, ever new ones in ``make fuzz``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
"""Examples for each property, set by ``make fuzz``; 0 is ``make test``."""

fuzzed = settings(
    max_examples=EXAMPLES or 50,
    # A test run that is green must be green again, so only `make fuzz` draws by chance.
    derandomize=not EXAMPLES,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
