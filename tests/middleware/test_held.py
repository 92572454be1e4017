"""The held answers by themselves, with time passed in."""

from __future__ import annotations

import subprocess
import sys

from proxy.api.responses import MadeOf
from proxy.cache import Freshness, State
from proxy.middleware.held import HeldAnswers
from proxy.middleware.ready import Asked, Fields, Ready


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def asked(query: str = "sku=A", secret: str = "s", *, gzip: bool = False) -> Asked:
    return Asked("/v1/reviews", query, None, secret, None, gzip)


def ready(product: str = "unit/A", until: float = 1010.0, body: bytes = b"{}") -> Ready:
    return Ready("200 OK", Fields.of(()), body, MadeOf((product,), Freshness(State.HIT, 1000.0, until)))


def test_an_answer_is_repeated_until_the_moment_its_copy_stops_being_fresh() -> None:
    clock = Clock()
    held = HeldAnswers(10_000, clock)
    held.hold(asked(), ready(until=1010.0), held.mark())
    clock.now = 1009.999
    assert held.get(asked()) is not None
    clock.now = 1010.0
    assert held.get(asked()) is None


def test_where_changes_may_be_missed_an_answer_is_repeated_for_a_moment_only() -> None:
    clock = Clock()
    held = HeldAnswers(10_000, clock, longest=5)
    held.hold(asked(), ready(until=1010.0), held.mark())
    clock.now = 1005.0
    assert held.get(asked()) is None


def test_another_query_credential_or_encoding_is_another_answer() -> None:
    held = HeldAnswers(10_000, Clock())
    held.hold(asked(), ready(), held.mark())
    others = [
        asked("sku=B"),
        asked(secret="t"),
        asked(gzip=True),
        Asked("/v1/reviews", "sku=A", "s", None, None, False),
    ]
    assert [held.get(other) for other in others] == [None] * 4


def test_a_product_that_changes_takes_its_answers_along_and_no_others() -> None:
    held = HeldAnswers(10_000, Clock())
    held.hold(asked("sku=A"), ready("unit/A"), held.mark())
    held.hold(asked("sku=B"), ready("unit/B"), held.mark())
    held.forget("unit/A")
    assert held.get(asked("sku=A")) is None
    assert held.get(asked("sku=B")) is not None


def test_an_answer_whose_product_changed_while_it_was_made_is_not_held() -> None:
    held = HeldAnswers(10_000, Clock())
    since = held.mark()
    held.forget("unit/A")
    held.hold(asked("sku=A"), ready("unit/A"), since)
    held.hold(asked("sku=B"), ready("unit/B"), since)
    assert held.get(asked("sku=A")) is None
    assert held.get(asked("sku=B")) is not None


def test_after_more_changes_than_are_remembered_nothing_is_taken_for_unchanged() -> None:
    held = HeldAnswers(10_000, Clock())
    since = held.mark()
    for number in range(1001):
        held.forget(f"unit/{number}")
    held.hold(asked(), ready(), since)
    assert held.get(asked()) is None


def test_clearing_also_covers_what_is_just_being_made() -> None:
    held = HeldAnswers(10_000, Clock())
    held.hold(asked(), ready(), since := held.mark())
    held.clear()
    held.hold(asked("sku=B"), ready(), since)
    assert (held.get(asked()), len(held), held.held_bytes) == (None, 0, 0)


def test_the_oldest_answers_leave_when_there_is_no_room() -> None:
    held = HeldAnswers(10_000, Clock())
    for number in range(20):
        held.hold(asked(f"sku={number}"), ready(body=b"x" * 500), held.mark())
    assert held.held_bytes <= 10_000
    assert held.get(asked("sku=0")) is None
    assert held.get(asked("sku=19")) is not None
    held.hold(asked("sku=huge"), ready(body=b"x" * 20_000), held.mark())
    assert held.get(asked("sku=huge")) is None


def test_what_cannot_be_repeated_is_not_held() -> None:
    held = HeldAnswers(10_000, Clock())
    held.hold(asked(), Ready("200 OK", Fields.of(()), b"{}", None), held.mark())
    assert len(held) == 0


def test_credentials_are_not_shown_where_requests_are_logged() -> None:
    assert "secret" not in repr(asked(secret="secret")) + str(asked(secret="secret"))


_FILL = """
import gc, resource, time
from tests.middleware.test_held import Asked, Fields, Freshness, HeldAnswers, MadeOf, Ready, State

def resident():
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

def put(number):
    # As a request brings them: every text a new one.
    path, secret = '/v1/' + f'reviews{number}'[:7], f'secret{number}'[:6]
    asked = Asked(path, f'sku=SKU-{number}&stars=4,5', None, secret, None, True)
    products = (f'unit/SKU-{number}',)
    freshness = Freshness(State.HIT, time.time() + number, time.time() + number + 900)
    ready = Ready('200 OK', Fields.of(()), bytes(600 + number % 900), MadeOf(products, freshness))
    held.hold(asked, ready, held.mark())

held = HeldAnswers(8 * 1024 * 1024, time.time)
put(0)
gc.collect()
before = resident()
for number in range(20000):
    put(number)
gc.collect()
print(resident() - before, held.held_bytes, len(held))
"""


def test_held_answers_stay_inside_their_bound_as_the_system_counts() -> None:
    printed = subprocess.run([sys.executable, "-c", _FILL], capture_output=True, text=True, check=True).stdout
    grown, held, answers = map(int, printed.split())
    print(f"{answers} answers held, weighed {held:,} B, resident size grew by {grown:,} B")
    assert held <= 8 * 1024 * 1024
    assert grown <= 8 * 1024 * 1024
