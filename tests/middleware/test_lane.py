"""The layer in front of an app that counts how often it is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from proxy.api.responses import MADE_OF, TAKES_WHOLE, MadeOf, Whole
from proxy.cache import Freshness, State
from proxy.middleware import HeldAnswers, Lane

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class App:
    """Answers with what it is told, and may be held up before it does."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = "200 OK"
        self.state = State.MISS
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.before_answering: Callable[[], None] = lambda: None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.asked += 1
        number = self.asked
        assert self.may_answer.wait(10)
        self.before_answering()
        now = time.time()
        if self.status == "200 OK":
            environ[MADE_OF] = MadeOf(("unit/A",), Freshness(self.state, now, now + 100))
        start_response(self.status, [("Content-Type", "application/json"), ("X-Cache", "miss")])
        return [f"{number}".encode()]


def lane(app: App, deadline_seconds: float = 10) -> Lane:
    return Lane(app, HeldAnswers(100_000, time.time), time.time, deadline_seconds)


def ask(
    wsgi: Lane, secret: str = "s", method: str = "GET", path: str = "/v1/reviews", **more: str
) -> tuple[str, dict[str, str], bytes]:
    told: list[tuple[str, dict[str, str]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Callable[[bytes], None]:
        told.append((status, dict(headers)))
        return lambda _: None

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "sku=A", "HTTP_X_API_KEY": secret, **more}
    answer = wsgi(environ, start_response)
    assert not isinstance(answer, Whole), "only for a server that takes it"
    body = b"".join(answer)
    return (*told[0], body)


def test_an_exact_repeat_does_not_reach_the_app() -> None:
    wsgi = lane(app := App())
    assert [ask(wsgi)[2] for _ in range(3)] == [b"1"] * 3
    assert app.asked == 1
    assert [ask(wsgi)[1]["X-Cache"], ask(lane(App()))[1]["X-Cache"]] == ["hit", "miss"]


def test_each_answer_has_its_own_request_id() -> None:
    wsgi = lane(App())
    assert ask(wsgi, HTTP_X_REQUEST_ID="mine-1")[1]["X-Request-Id"] == "mine-1"
    assert ask(wsgi, HTTP_X_REQUEST_ID="mine-2")[1]["X-Request-Id"] == "mine-2"
    own = [ask(wsgi, HTTP_X_REQUEST_ID=given)[1]["X-Request-Id"] for given in ("", "", "not fit\r\nto be shown")]
    assert len({*own, "not fit\r\nto be shown"}) == 4


@pytest.mark.parametrize("change", [{"secret": "t"}, {"method": "POST"}, {"method": "HEAD"}, {"path": "/healthz"}])
def test_anything_else_reaches_the_app(change: dict[str, str]) -> None:
    wsgi = lane(app := App())
    ask(wsgi)
    ask(wsgi, **change)
    assert app.asked == 2


@pytest.mark.parametrize(("status", "state"), [("503 Service Unavailable", State.MISS), ("200 OK", State.STALE)])
def test_a_problem_or_a_stale_answer_is_not_repeated(status: str, state: State) -> None:
    wsgi = lane(app := App())
    app.status, app.state = status, state
    assert [ask(wsgi)[2] for _ in range(2)] == [b"1", b"2"]


def test_a_product_that_changes_while_its_answer_is_made_leaves_no_answer_behind() -> None:
    wsgi = lane(app := App())
    app.before_answering = lambda: wsgi.forget("unit/A")
    ask(wsgi)
    app.before_answering = lambda: None
    assert ask(wsgi)[2] == b"2"
    assert ask(wsgi)[2] == b"2"


def together(wsgi: Lane, app: App, many: int = 20) -> list[tuple[str, dict[str, str], bytes]]:
    """Ask ``many`` times while the app is held up, and let it answer once all have come."""
    app.may_answer.clear()
    with ThreadPoolExecutor(many) as pool:
        answers = [pool.submit(ask, wsgi) for _ in range(many)]
        time.sleep(0.3)
        app.may_answer.set()
        return [answer.result(10) for answer in answers]


def test_those_who_ask_at_once_share_one_answer_with_headers_of_their_own() -> None:
    wsgi = lane(app := App())
    answers = together(wsgi, app)
    assert app.asked == 1
    assert {(status, body, headers["X-Cache"]) for status, headers, body in answers} == {("200 OK", b"1", "miss")}
    assert len({headers["X-Request-Id"] for _, headers, _ in answers}) == 20
    # The wait is part of what each says it took.
    assert max(float(headers["Server-Timing"].partition("dur=")[2]) for _, headers, _ in answers) > 100


def test_those_who_ask_at_once_share_a_problem() -> None:
    wsgi = lane(app := App())
    app.status = "503 Service Unavailable"
    assert {status for status, _, _ in together(wsgi, app)} == {"503 Service Unavailable"}
    assert app.asked == 1
    ask(wsgi)
    assert app.asked == 2


def test_a_bug_is_not_shared_as_its_answer_names_one_request() -> None:
    wsgi = lane(app := App())
    app.status = "500 Internal Server Error"
    together(wsgi, app, many=5)
    assert app.asked == 5


def test_a_maker_that_is_killed_leaves_nobody_waiting() -> None:
    class Killed(BaseException):
        """As gevent ends a greenlet."""

    wsgi = lane(app := App())

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
    wsgi = lane(app := App(), deadline_seconds=0.3)
    app.may_answer.clear()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(ask, wsgi) for _ in range(2)]
        time.sleep(0.6)
        # It then asks for itself, and what it asks knows that its time is up.
        assert app.asked == 2
        app.may_answer.set()
        assert [answer.result(5)[0] for answer in answers] == ["200 OK"] * 2


def test_who_asks_after_a_change_does_not_share_what_was_begun_before_it() -> None:
    wsgi = lane(app := App())
    app.may_answer.clear()
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(ask, wsgi)
        while app.asked < 1:
            time.sleep(0.01)
        wsgi.forget("unit/A")
        after = pool.submit(ask, wsgi)
        while app.asked < 2:
            time.sleep(0.01)
        app.may_answer.set()
        assert (before.result(5)[2], after.result(5)[2]) == (b"1", b"2")
    assert ask(wsgi)[2] == b"2"


def test_a_server_that_takes_whole_answers_gets_the_same_in_one_piece() -> None:
    wsgi = lane(App())
    status, headers, body = ask(wsgi, HTTP_X_REQUEST_ID="mine")
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/v1/reviews", "QUERY_STRING": "sku=A", "HTTP_X_API_KEY": "s"}
    whole = wsgi({**environ, "HTTP_X_REQUEST_ID": "mine", TAKES_WHOLE: True}, _never)
    assert isinstance(whole, Whole)
    assert (whole.status, whole.body) == (status, body)
    common = dict(line.split(": ", 1) for line in whole.common.decode().splitlines())
    told = {**common, **dict(whole.own)}
    assert told["X-Cache"] == "hit"
    by_each = {"X-Cache": "", "Server-Timing": ""}
    assert {**told, **by_each} == {**headers, **by_each}


def _never(status: str, headers: list[tuple[str, str]], exc_info: object = None, /) -> Callable[[bytes], object]:
    raise AssertionError("start_response is not for whole answers")
