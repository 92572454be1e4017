"""The store of responses with time passed in, and the layer in front of an app that counts its requests."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from proxy.api import SOURCES, TAKES_PREBUILT, Application, PrebuiltResponse, Sources
from proxy.cache import Freshness, State
from proxy.clock import Now
from proxy.events import unheard
from proxy.middleware import AccessLog
from proxy.middleware.response_cache import CachedResponse, HeaderFields, RequestKey, ResponseCache, ResponseStore

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def request_key(query: str = "sku=A", secret: str = "s", *, gzip: bool = False) -> RequestKey:
    return RequestKey("/v1/reviews", query, None, secret, None, gzip)


def response(product: str = "unit/A", until: float = 1010.0, body: bytes = b"{}") -> CachedResponse:
    return CachedResponse(
        "200 OK", HeaderFields.of(()), body, Sources((product,), Freshness(State.HIT, 1000.0, until))
    )


def test_an_answer_is_repeated_until_the_moment_its_copy_stops_being_fresh() -> None:
    clock = Clock()
    store = ResponseStore(10_000, clock)
    store.put(request_key(), response(until=1010.0), store.generation())
    clock.now = 1009.999
    assert store.get(request_key()) is not None
    clock.now = 1010.0
    assert store.get(request_key()) is None


def test_where_changes_may_be_missed_an_answer_is_repeated_for_a_moment_only() -> None:
    clock = Clock()
    store = ResponseStore(10_000, clock, longest=5)
    store.put(request_key(), response(until=1010.0), store.generation())
    clock.now = 1005.0
    assert store.get(request_key()) is None


def test_another_query_credential_or_encoding_is_another_answer() -> None:
    store = ResponseStore(10_000, Clock())
    store.put(request_key(), response(), store.generation())
    others = [
        request_key("sku=B"),
        request_key(secret="t"),
        request_key(gzip=True),
        RequestKey("/v1/reviews", "sku=A", "s", None, None, False),
    ]
    assert [store.get(other) for other in others] == [None] * 4


def test_a_product_that_changes_takes_its_answers_along_and_no_others() -> None:
    store = ResponseStore(10_000, Clock())
    store.put(request_key("sku=A"), response("unit/A"), store.generation())
    store.put(request_key("sku=B"), response("unit/B"), store.generation())
    store.invalidate("unit/A")
    assert store.get(request_key("sku=A")) is None
    assert store.get(request_key("sku=B")) is not None


def test_an_answer_whose_product_changed_while_it_was_made_is_not_held() -> None:
    store = ResponseStore(10_000, Clock())
    generation = store.generation()
    store.invalidate("unit/A")
    store.put(request_key("sku=A"), response("unit/A"), generation)
    store.put(request_key("sku=B"), response("unit/B"), generation)
    assert store.get(request_key("sku=A")) is None
    assert store.get(request_key("sku=B")) is not None


def test_after_more_changes_than_are_remembered_nothing_is_taken_for_unchanged() -> None:
    store = ResponseStore(10_000, Clock())
    generation = store.generation()
    for number in range(1001):
        store.invalidate(f"unit/{number}")
    store.put(request_key(), response(), generation)
    assert store.get(request_key()) is None


def test_clearing_also_covers_what_is_just_being_made() -> None:
    store = ResponseStore(10_000, Clock())
    store.put(request_key(), response(), generation := store.generation())
    store.clear()
    store.put(request_key("sku=B"), response(), generation)
    assert (store.get(request_key()), len(store), store.stored_bytes) == (None, 0, 0)


def test_the_oldest_answers_leave_when_there_is_no_room() -> None:
    store = ResponseStore(10_000, Clock())
    for number in range(20):
        store.put(request_key(f"sku={number}"), response(body=b"x" * 500), store.generation())
    assert store.stored_bytes <= 10_000
    assert store.get(request_key("sku=0")) is None
    assert store.get(request_key("sku=19")) is not None
    store.put(request_key("sku=huge"), response(body=b"x" * 20_000), store.generation())
    assert store.get(request_key("sku=huge")) is None


def test_what_cannot_be_repeated_is_not_held() -> None:
    store = ResponseStore(10_000, Clock())
    store.put(request_key(), CachedResponse("200 OK", HeaderFields.of(()), b"{}", None), store.generation())
    assert len(store) == 0


def test_credentials_are_not_shown_where_requests_are_logged() -> None:
    assert "secret" not in repr(request_key(secret="secret")) + str(request_key(secret="secret"))


_FILL = """
import gc, resource, time
from tests.middleware.test_response_cache import (
    CachedResponse, Freshness, HeaderFields, RequestKey, ResponseStore, Sources, State
)

def resident():
    with open('/proc/self/statm') as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

def add(number):
    # As a request brings them: every text a new one.
    path, secret = '/v1/' + f'reviews{number}'[:7], f'secret{number}'[:6]
    key = RequestKey(path, f'sku=SKU-{number}&stars=4,5', None, secret, None, True)
    surrogate_keys = (f'unit/SKU-{number}',)
    freshness = Freshness(State.HIT, time.time() + number, time.time() + number + 900)
    sources = Sources(surrogate_keys, freshness)
    response = CachedResponse('200 OK', HeaderFields.of(()), bytes(600 + number % 900), sources)
    store.put(key, response, store.generation())

store = ResponseStore(8 * 1024 * 1024, time.time)
add(0)
gc.collect()
before = resident()
for number in range(20000):
    add(number)
gc.collect()
print(resident() - before, store.stored_bytes, len(store))
"""


def test_stored_responses_stay_inside_their_bound_as_the_system_counts() -> None:
    printed = subprocess.run([sys.executable, "-c", _FILL], capture_output=True, text=True, check=True).stdout
    grown, stored, responses = map(int, printed.split())
    print(f"{responses} responses stored, weighed {stored:,} B, resident size grew by {grown:,} B")
    assert stored <= 8 * 1024 * 1024
    assert grown <= 8 * 1024 * 1024


class App:
    """Answers with what it is told, and may be held up before it does."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = "200 OK"
        self.state = State.MISS
        self.now: Now = time.time
        self.stored_at: float | None = None
        self.gone_at = math.inf
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.before_answering: Callable[[], None] = lambda: None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked += 1
        number = self.asked
        assert self.may_answer.wait(10)
        self.before_answering()
        now = self.now()
        if self.status == "200 OK":
            fresh_until = now - 1 if self.state is State.STALE else now + 100
            stored_at = now if self.stored_at is None else self.stored_at
            environ[SOURCES] = Sources(("unit/A",), Freshness(self.state, stored_at, fresh_until, self.gone_at))
        start_response(self.status, [("Content-Type", "application/json"), ("X-Cache", "miss")])
        return [f"{number}".encode()]


def response_cache(app: App, deadline_seconds: float = 10, now: Now = time.time) -> ResponseCache:
    return ResponseCache(app, ResponseStore(100_000, now), now, deadline_seconds)


def ask(
    wsgi: Application, secret: str = "s", method: str = "GET", path: str = "/v1/reviews", **more: str
) -> tuple[str, dict[str, str], bytes]:
    told: list[tuple[str, dict[str, str]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Callable[[bytes], None]:
        told.append((status, dict(headers)))
        return lambda _: None

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "sku=A", "HTTP_X_API_KEY": secret, **more}
    answer = wsgi(environ, start_response)
    assert not isinstance(answer, PrebuiltResponse), "only for a server that takes it"
    body = b"".join(answer)
    return (*told[0], body)


def test_an_exact_repeat_does_not_reach_the_app() -> None:
    wsgi = response_cache(app := App())
    assert [ask(wsgi)[2] for _ in range(3)] == [b"1"] * 3
    assert app.asked == 1
    assert [ask(wsgi)[1]["X-Cache"], ask(response_cache(App()))[1]["X-Cache"]] == ["hit", "miss"]


def test_each_answer_has_its_own_request_id_and_timing() -> None:
    wsgi = AccessLog(response_cache(App()), unheard)
    assert ask(wsgi, HTTP_X_REQUEST_ID="mine-1")[1]["X-Request-Id"] == "mine-1"
    assert ask(wsgi, HTTP_X_REQUEST_ID="mine-2")[1]["X-Request-Id"] == "mine-2"
    own = [ask(wsgi, HTTP_X_REQUEST_ID=given)[1]["X-Request-Id"] for given in ("", "", "not fit\r\nto be shown")]
    assert len({*own, "not fit\r\nto be shown"}) == 4
    assert ask(wsgi)[1]["Server-Timing"].startswith("total;dur=")


def test_head_repeats_what_get_was_answered_without_the_body() -> None:
    wsgi = response_cache(app := App())
    (_, by_get, _), by_head = ask(wsgi), ask(wsgi, method="HEAD")
    assert by_head == ("200 OK", {**by_get, "X-Cache": "hit"}, b"")
    assert app.asked == 1


@pytest.mark.parametrize("change", [{"secret": "t"}, {"method": "POST"}, {"path": "/healthz"}])
def test_anything_else_reaches_the_app(change: dict[str, str]) -> None:
    wsgi = response_cache(app := App())
    ask(wsgi)
    ask(wsgi, **change)
    assert app.asked == 2


def test_a_problem_is_not_repeated() -> None:
    wsgi = response_cache(app := App())
    app.status = "503 Service Unavailable"
    assert [ask(wsgi)[2] for _ in range(2)] == [b"1", b"2"]


def stale_app() -> tuple[App, Clock]:
    """Return an app that answers from a copy stored at 600 on ``Clock``, where it is 1000 now."""
    app, clock = App(), Clock()
    app.now, app.state, app.stored_at = clock, State.STALE, 600.0
    return app, clock


def test_a_stale_answer_is_repeated_for_a_second_and_says_that_it_is_stale_and_how_old() -> None:
    app, clock = stale_app()
    wsgi = response_cache(app, now=clock)
    ask(wsgi)
    ages = []
    for clock.now in (1000.0, 1000.5, 1000.999):
        _, headers, body = ask(wsgi)
        assert (body, headers["X-Cache"], headers["Cache-Control"]) == (b"1", "stale", "private, max-age=0")
        ages.append(headers["Age"])
    assert ages == ["400", "400", "400"]
    clock.now = 1001.0
    _, headers, body = ask(wsgi)
    assert (body, headers["Age"]) == (b"2", "401")


def test_the_age_of_a_repeated_stale_answer_goes_on() -> None:
    app, clock = stale_app()
    app.stored_at = 600.5
    wsgi = response_cache(app, now=clock)
    assert ask(wsgi)[1]["Age"] == "399"
    clock.now = 1000.6
    assert ask(wsgi)[1]["Age"] == "400"
    assert app.asked == 1


def test_the_age_of_a_repeated_fresh_answer_goes_on_and_what_is_left_of_its_freshness_goes_down() -> None:
    app, clock = App(), Clock()
    app.now = clock
    wsgi = response_cache(app, now=clock)
    ask(wsgi)
    for clock.now, age, left in ((1000.0, "0", 100), (1060.5, "60", 39), (1099.9, "99", 0)):
        _, headers, body = ask(wsgi)
        assert (body, headers["X-Cache"], headers["Age"]) == (b"1", "hit", age)
        assert headers["Cache-Control"] == f"private, max-age={left}"
    clock.now = 1100.0
    assert ask(wsgi)[2] == b"2"


def test_a_stale_answer_is_not_repeated_once_its_copy_is_gone() -> None:
    app, clock = stale_app()
    app.gone_at = 1000.3
    wsgi = response_cache(app, now=clock)
    ask(wsgi)
    clock.now = 1000.3
    assert ask(wsgi)[2] == b"2"


def test_a_stale_answer_leaves_when_the_refresh_of_its_product_lands_and_a_fresh_one_stays() -> None:
    app, clock = stale_app()
    wsgi = response_cache(app, now=clock)
    ask(wsgi)
    wsgi.drop_stale("unit/B")
    assert ask(wsgi)[2] == b"1"
    wsgi.drop_stale("unit/A")
    app.state = State.HIT
    fresh_app = App()
    fresh = response_cache(fresh_app)
    ask(fresh)
    fresh.drop_stale("unit/A")
    assert (ask(wsgi)[2], ask(fresh)[2]) == (b"2", b"1")


@pytest.mark.parametrize(("state", "repeated"), [(State.STALE, False), (State.MISS, True)])
def test_of_what_is_made_while_a_refresh_lands_only_the_stale_leaves_nothing_behind(
    state: State, *, repeated: bool
) -> None:
    wsgi = response_cache(app := App())
    app.state = state
    app.before_answering = lambda: wsgi.drop_stale("unit/A")
    ask(wsgi)
    app.before_answering = lambda: None
    assert (ask(wsgi)[2] == b"1") is repeated


def test_a_purge_drops_a_stale_answer_too() -> None:
    app, clock = stale_app()
    wsgi = response_cache(app, now=clock)
    ask(wsgi)
    wsgi.invalidate("unit/A")
    assert ask(wsgi)[2] == b"2"


def test_stale_answers_that_are_no_longer_repeated_take_no_room() -> None:
    clock = Clock()
    store = ResponseStore(1_000_000, clock)
    stale = Sources(("unit/A",), Freshness(State.STALE, 600.0, 900.0))
    for number in range(100):
        clock.now = 1000.0 + number
        store.put(request_key(f"sku={number}"), replace(response(), sources=stale), store.generation())
    assert len(store) == 1


def test_a_product_that_changes_while_its_answer_is_made_leaves_no_answer_behind() -> None:
    wsgi = response_cache(app := App())
    app.before_answering = lambda: wsgi.invalidate("unit/A")
    ask(wsgi)
    app.before_answering = lambda: None
    assert ask(wsgi)[2] == b"2"
    assert ask(wsgi)[2] == b"2"


def together(wsgi: Application, app: App, many: int = 20) -> list[tuple[str, dict[str, str], bytes]]:
    """Ask ``many`` times while the app is held up, and let it answer once all have come."""
    app.may_answer.clear()
    with ThreadPoolExecutor(many) as pool:
        answers = [pool.submit(ask, wsgi) for _ in range(many)]
        time.sleep(0.3)
        app.may_answer.set()
        return [answer.result(10) for answer in answers]


def test_those_who_ask_at_once_share_one_answer_with_headers_of_their_own() -> None:
    wsgi = AccessLog(response_cache(app := App()), unheard)
    answers = together(wsgi, app)
    assert app.asked == 1
    assert {(status, body, headers["X-Cache"]) for status, headers, body in answers} == {("200 OK", b"1", "miss")}
    assert len({headers["X-Request-Id"] for _, headers, _ in answers}) == 20
    # The wait is part of what each says it took.
    assert max(float(headers["Server-Timing"].partition("dur=")[2]) for _, headers, _ in answers) > 100


def test_those_who_ask_at_once_share_a_problem() -> None:
    wsgi = response_cache(app := App())
    app.status = "503 Service Unavailable"
    assert {status for status, _, _ in together(wsgi, app)} == {"503 Service Unavailable"}
    assert app.asked == 1
    ask(wsgi)
    assert app.asked == 2


def test_a_bug_is_not_shared_as_its_answer_names_one_request() -> None:
    wsgi = response_cache(app := App())
    app.status = "500 Internal Server Error"
    together(wsgi, app, many=5)
    assert app.asked == 5


def test_a_maker_that_is_killed_leaves_nobody_waiting() -> None:
    class Killed(BaseException):
        """As gevent ends a greenlet."""

    wsgi = response_cache(app := App())

    def die_first() -> None:
        if app.asked == 1 and threading.current_thread() is first:
            raise Killed

    def lead() -> None:
        with pytest.raises(Killed):
            ask(wsgi)

    app.before_answering = die_first
    app.may_answer.clear()
    first = threading.Thread(target=lead)
    first.start()
    with ThreadPoolExecutor(1) as pool:
        while not app.asked:
            time.sleep(0.01)
        other = pool.submit(ask, wsgi)
        time.sleep(0.1)
        app.may_answer.set()
        assert other.result(5)[0] == "200 OK"
    first.join(5)


def test_who_waits_waits_no_longer_than_the_deadline() -> None:
    wsgi = response_cache(app := App(), deadline_seconds=0.3)
    app.may_answer.clear()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(ask, wsgi) for _ in range(2)]
        time.sleep(0.6)
        # It then asks for itself, and what it asks knows that its time is up.
        assert app.asked == 2
        app.may_answer.set()
        assert [answer.result(5)[0] for answer in answers] == ["200 OK"] * 2


def test_who_asks_after_a_change_does_not_share_what_was_begun_before_it() -> None:
    wsgi = response_cache(app := App())
    app.may_answer.clear()
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(ask, wsgi)
        while app.asked < 1:
            time.sleep(0.01)
        wsgi.invalidate("unit/A")
        after = pool.submit(ask, wsgi)
        while app.asked < 2:
            time.sleep(0.01)
        app.may_answer.set()
        assert (before.result(5)[2], after.result(5)[2]) == (b"1", b"2")
    assert ask(wsgi)[2] == b"2"


def test_a_server_that_takes_whole_answers_gets_the_same_in_one_piece() -> None:
    wsgi = AccessLog(response_cache(App()), unheard)
    status, headers, body = ask(wsgi, HTTP_X_REQUEST_ID="mine")
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/reviews", "QUERY_STRING": "sku=A", "HTTP_X_API_KEY": "s"}
    whole = wsgi({**environ, "HTTP_X_REQUEST_ID": "mine", TAKES_PREBUILT: True}, _never)
    assert isinstance(whole, PrebuiltResponse)
    assert (whole.status, whole.body) == (status, body)
    common = dict(line.split(": ", 1) for line in whole.common.decode().splitlines())
    told = {**common, **dict(whole.own)}
    assert told["X-Cache"] == "hit"
    by_each = {"X-Cache": "", "Server-Timing": ""}
    assert {**told, **by_each} == {**headers, **by_each}


def _never(status: str, headers: list[tuple[str, str]], exc_info: object = None, /) -> Callable[[bytes], object]:
    raise AssertionError("start_response is not for whole answers")


def _asked(cache: ResponseCache) -> bytes:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/reviews", "QUERY_STRING": "sku=A"}
    return b"".join(cache(environ, lambda *_: None))  # type: ignore[arg-type]  # as any WSGI server


def test_who_came_behind_one_whose_time_ran_out_waits_on_until_their_own_has() -> None:
    asked: list[str] = []

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        asked.append("")
        if len(asked) == 1:
            behind.append(pool.submit(_asked, cache))
            time.sleep(0.2)
            start_response("504 GATEWAY TIMEOUT", [])
            return [b"late"]
        start_response("200 OK", [])
        return [b"in time"]

    cache = ResponseCache(app, ResponseStore(10_000, time.time), time.time, 20)
    behind: list[Future[bytes]] = []
    with ThreadPoolExecutor(1) as pool:
        assert _asked(cache) == b"late"
        assert behind[0].result(20) == b"in time"


def test_those_whose_time_runs_out_beside_each_other_share_one_answer() -> None:
    asked: list[str] = []
    all_answered = threading.Event()

    def app(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        asked.append("")
        if len(asked) == 1:
            all_answered.wait(20)
        start_response("504 GATEWAY TIMEOUT", [])
        return [b"late"]

    cache = ResponseCache(app, ResponseStore(10_000, time.time), time.time, 0.05)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(_asked, cache)
        while not asked:
            time.sleep(0.001)
        assert [_asked(cache) for _ in range(5)] == [b"late"] * 5
        all_answered.set()
        assert first.result(20) == b"late"
    assert len(asked) == 2, "the first, and one for the five"
