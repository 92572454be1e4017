"""What Braze does with an answer."""

import gzip
import threading

import pytest

from proxy.preview.braze import (
    NoAnswerInTimeError,
    NoConnectionError,
    RefusedError,
    Rendering,
    Response,
    TransportError,
)
from proxy.preview.braze.wire import BODY_BYTES

from .endpoint import Endpoint, Received, SocketTransport
from .memory import World, answer

SAVED = "{% connected_content https://x.test/a :save r %}"


def over_sockets(endpoint: Endpoint, options: str = "") -> Rendering:
    template = "[{% connected_content " + endpoint.url + "/a " + options + " %}]"
    return World(steps=[SocketTransport().send]).render(template)


def test_json_goes_into_the_save_variable_and_the_tag_into_nothing(world: World) -> None:
    """Braze: Local Connected Content variables, "JSON parsing"."""
    world.steps = [answer(200, '{"reviews": [{"content": "fine", "stars": 4.5}], "ok": true}')]
    rendering = world.render(f"[{SAVED}]" + "{{r.reviews[0].content}} {{r.reviews[0].stars}} {{r.ok}}")
    assert rendering.output == "[]fine 4.5 true"
    assert rendering.calls[0].outcome == "JSON: saved as {{r}}"


def test_without_save_json_goes_into_connected(world: World) -> None:
    """Braze: Local Connected Content variables: parsed JSON is stored in ``connected``."""
    world.steps = [answer(200, '{"a": 1}')]
    assert world.render("{% connected_content https://x.test %}{{connected.a}}").output == "1"


@pytest.mark.parametrize(
    "text", ["Hello <b>there</b>", "{'single': 1}", "{broken", "NaN", "[" * 200_000, "{{${first_name}}}"]
)
def test_text_is_inserted_in_place_of_the_tag(world: World, text: str) -> None:
    """Braze: Local Connected Content variables: text that is not valid JSON replaces the tag, unread."""
    world.steps = [answer(200, text, content_type="application/json")]
    assert world.render("a {% connected_content https://x.test %} b").output == f"a {text} b"


def test_what_is_json_decides_not_the_header(world: World) -> None:
    """Braze: Local Connected Content variables: valid JSON "as defined by json.org"."""
    world.steps = [answer(200, "\ufeff[1, 2]", content_type="text/plain")]
    assert world.render("{% connected_content https://x.test %}{{connected[1]}}").output == "2"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [(200, "{}", "200"), (201, '{"a": 1}', "201"), (200, "[1]", ""), (200, "7", "")],
)
def test_the_status_code_is_set_for_an_object_with_2xx_only(world: World, status: int, body: str, code: str) -> None:
    """Braze: Local Connected Content variables, "HTTP status codes"."""
    world.steps = [answer(status, body)]
    assert world.render(SAVED + "{{r.__http_status_code__}}").output == code


@pytest.mark.parametrize("status", [300, 301, 302, 307, 400, 401, 403, 404, 418, 429, 500, 502, 503, 599])
def test_any_other_status_inserts_nothing_and_the_message_goes_on(world: World, status: int) -> None:
    """Braze: Make a Connected Content call, "Error handling"; Troubleshoot … Connected Content requests."""
    world.steps = [answer(status, '{"a": 1}')]
    rendering = world.render("a" + SAVED + "{{r.a}}{{r.__http_status_code__}}{% if r == nil %}b{% endif %}")
    assert rendering.output == "ab"
    assert rendering.aborted is None
    assert not rendering.calls[0].succeeded
    assert "nothing is inserted" in rendering.calls[0].outcome
    assert str(status) in rendering.calls[0].outcome


def test_a_404_is_told_as_such(world: World) -> None:
    """Braze: Make a Connected Content call, "Error handling": a 404 renders an empty string."""
    world.steps = [answer(404, "<h1>Not here</h1>")]
    rendering = world.render("[{% connected_content https://x.test %}]")
    assert rendering.output == "[]"
    assert rendering.calls[0].outcome == "nothing is inserted: 404 Not Found; the message goes out without it"


def test_a_failed_call_empties_what_an_earlier_one_left(world: World) -> None:
    """Braze: Make a Connected Content call: a failure is noticed by ``connected`` being null."""
    world.steps = [answer(200, '{"a": 1}'), answer(500)]
    tag = "{% connected_content https://x.test :no_cache %}"
    assert (
        world.render(tag + "{{connected.a}}" + tag + "{% if connected == nil %} null{% endif %}").output == "1 null"
    )


def test_redirects_are_not_followed(endpoint: Endpoint) -> None:
    """Braze: Make a Connected Content call, "Things to know"."""
    endpoint.says("/a", "", status=302, location="/b")
    endpoint.says("/b", "secret")
    rendering = over_sockets(endpoint)
    assert rendering.output == "[]"
    assert [received.path for received in endpoint.received] == ["/a"]
    assert rendering.calls[0].outcome.startswith("redirect not followed")


def test_a_body_over_a_megabyte_is_refused_and_not_cached(endpoint: Endpoint) -> None:
    """Braze: Make a Connected Content call, "Things to know"; Cache …, "Cache size limit"."""
    endpoint.says("/a", "x" * (BODY_BYTES + 1))
    world = World(steps=[SocketTransport().send])
    template = "[{% connected_content " + endpoint.url + "/a %}]"
    for _ in range(2):
        rendering = world.render(template)
        assert rendering.output == "[]"
        assert rendering.calls[0].outcome.startswith("over 1 MB: refused")
    assert len(endpoint.received) == 2


def test_the_size_counts_even_when_the_transport_let_it_through(world: World) -> None:
    """Braze: Make a Connected Content call, "Things to know"."""
    world.steps = [answer(200, "x" * (BODY_BYTES + 1)), answer(200, "x" * BODY_BYTES)]
    tag = "{% connected_content https://x.test %}"
    assert world.render(tag).output == ""
    assert len(world.render(tag).output) == BODY_BYTES


def test_gzip_is_read(endpoint: Endpoint) -> None:
    """Braze: Connected Content Debugger: Braze sends ``Accept-Encoding: gzip``."""
    endpoint.says("/a", gzip.compress(b"small"), content_encoding="gzip")
    assert over_sockets(endpoint).output == "[small]"


def test_two_seconds_and_no_more(endpoint: Endpoint) -> None:
    """Braze: Make a Connected Content call, "Allowing for efficient performance"."""
    tired = threading.Event()

    def wait(_: Received) -> Response:
        tired.wait(30)
        return answer(200, "late")

    endpoint.pages["/a"] = wait
    rendering = over_sockets(endpoint)
    tired.set()
    assert rendering.output == "[]"
    assert rendering.calls[0].outcome == "no answer within 2 seconds: nothing is inserted"
    assert rendering.calls[0].status is None


@pytest.mark.parametrize(("takes", "output"), [(1.99, "hi"), (2.01, "")])
def test_an_answer_that_came_too_late_does_not_count(world: World, takes: float, output: str) -> None:
    """Braze: Make a Connected Content call, "Allowing for efficient performance"."""
    world.takes, world.steps = takes, [answer(200, "hi")]
    assert world.render("{% connected_content https://x.test %}").output == output


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NoAnswerInTimeError("slow"), "no answer within 2 seconds"),
        (NoConnectionError("name unknown"), "no connection (name unknown)"),
        (RefusedError("only this proxy is called"), "refused, nothing was sent: only this proxy"),
    ],
)
def test_without_an_answer_nothing_is_inserted(world: World, error: TransportError, outcome: str) -> None:
    """Braze: Troubleshoot webhook and Connected Content requests, "5XX errors" and blocked hosts."""
    world.steps = [error]
    rendering = world.render("[{% connected_content https://x.test %}]")
    assert rendering.output == "[]"
    (call,) = rendering.calls
    assert outcome in call.outcome
    assert call.attempts == (0 if isinstance(error, RefusedError) else 1)


def test_an_empty_answer_is_no_failure(world: World) -> None:
    world.steps = [answer(204, "")]
    rendering = world.render("[" + SAVED + "{{r}}]")
    assert rendering.output == "[]"
    assert rendering.calls[0].succeeded
