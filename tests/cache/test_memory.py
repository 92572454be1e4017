"""The memory store stays inside its bound, measured as the resident size of a process of its own."""

from __future__ import annotations

import subprocess
import sys

from proxy.cache import Entry, Key, MemoryStore

_FILL = """
import gc, json, random, resource, time
from proxy.cache import Entry, Key, MemoryStore
from proxy.sandbox.shop import compose, usual_ratings
from proxy.trustpilot.decode import read_reviews

def resident():
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

def page():
    reviews = compose(chance, languages=['en', 'fr', 'ja'], ratings=usual_ratings(chance, 100))
    return read_reviews(json.dumps({{'productReviews': reviews}}).encode(), 101).encode()

chance = random.Random(1)
# Composing is slow; of every sample many products are made, each with bytes of its own.
samples = [page() for _ in range(200)]
store = MemoryStore({mb} * 1024 * 1024, time.time)
gc.collect()
before = resident()
for number in range(2000):
    value = samples[number % 200] + number.to_bytes(2)
    store.put(Key(f'unit/SKU-{{number}}', 'page'), Entry(value, time.time(), time.time(), time.time()))
    store.get(Key('unit/SKU-0', 'page'))
gc.collect()
kept = store.get(Key('unit/SKU-0', 'page')) is not None
left = store.get(Key('unit/SKU-1', 'page')) is None
print(resident() - before, store.held_bytes, len(store), int(kept), int(left))
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


def test_a_fresh_entry_that_lands_is_told_to_who_listens_for_refreshes_and_a_stale_one_is_not() -> None:
    refreshed: list[str] = []
    store = MemoryStore(100_000, lambda: 1000.0)
    store.when_refreshed(refreshed.append)
    key = Key("unit/A", "page")
    for stored_at, fresh_until in ((500.0, 900.0), (1000.0, 1900.0), (1000.0, 1900.0)):
        store.lease(key).bring(Entry(b"{}", stored_at, fresh_until, 9000.0))
    assert refreshed == ["unit/A"]
    overtaken = store.lease(key)
    store.forget("unit/A")
    overtaken.bring(Entry(b"{}", 1001.0, 1901.0, 9000.0))
    assert refreshed == ["unit/A"]
