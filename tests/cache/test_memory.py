"""L1 stays inside its bound, measured as the resident size of a process of its own."""

from __future__ import annotations

import subprocess
import sys

_FILL = """
import gc, json, random, resource, time
from proxy.cache import Cache, Fetched, Group, Key, Lifetimes, MemoryBackend, Tiered
from proxy.clock import Deadline
from proxy.sandbox.shop import compose, usual_ratings
from proxy.trustpilot.client import read_reviews

def resident():
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

def page():
    reviews = compose(chance, languages=['en', 'fr', 'ja'], ratings=usual_ratings(chance, 100))
    return read_reviews(json.dumps({{'productReviews': reviews}}).encode()).encode()

chance = random.Random(1)
# Composing is slow; of every sample many products are made, each with bytes of its own.
samples = [page() for _ in range(200)]
store = Tiered(
    MemoryBackend(0),
    Lifetimes(900, 900, 900),
    time.time,
    lambda job: job(),
    l1_bytes={mb} * 1024 * 1024,
    fetch_seconds=9,
)
cache = Cache(store, Group(lambda job: job()), time.time)
gc.collect()
before = resident()
for number in range(2000):
    value = samples[number % 200] + number.to_bytes(2)
    key = Key(f'unit/SKU-{{number}}', 'page')
    cache.get_or_fetch(key, lambda priority: Fetched(value, True)).wait(Deadline.after(1))
    cache.get(Key('unit/SKU-0', 'page'))
gc.collect()
kept = cache.get(Key('unit/SKU-0', 'page')) is not None
left = cache.get(Key('unit/SKU-1', 'page')) is None
print(resident() - before, store.l1_bytes, len(store), int(kept), int(left))
"""


def test_2000_skus_with_100_reviews_stay_inside_the_bound() -> None:
    for mb in (8, 64):
        command = [sys.executable, "-c", _FILL.format(mb=mb)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        grown, held, entries, kept, left = map(int, printed.split())
        print(f"bound {mb} MiB: {entries} pages held, weighed {held:,} B, resident size grew by {grown:,} B")
        assert held <= mb * 1024 * 1024
        assert grown <= mb * 1024 * 1024
        if entries < 2000:
            assert kept, "what is used stays"
            assert left, "what was used least leaves"
