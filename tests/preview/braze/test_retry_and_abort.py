"""Retries, and messages that are not sent."""

import pytest

from proxy.preview.braze import (
    Channel,
    MistakeKind,
    NoAnswerInTimeError,
    NoConnectionError,
    Response,
    TemplateError,
    TransportError,
)
from proxy.preview.braze.tags import NO_REASON

from .memory import World, answer

RETRY = "{% connected_content https://x.test/a :retry :save r %}"


@pytest.mark.parametrize("failure", [answer(500), answer(503), NoAnswerInTimeError(""), NoConnectionError("")])
def test_a_failed_call_is_tried_five_times_more_and_then_the_message_is_aborted(
    world: World, failure: Response | TransportError
) -> None:
    """Braze: Use retry logic for Connected Content."""
    world.steps = [failure]
    rendering = world.render("hello " + RETRY)
    assert rendering.output == ""
    assert rendering.aborted is not None
    assert "failed 6 times" in rendering.aborted
    assert len(world.sent) == 6
    (call,) = rendering.calls
    assert call.attempts == 6
    assert "the message is aborted" in call.outcome


def test_the_waits_between_retries_grow(world: World) -> None:
    """Braze: Use retry logic for Connected Content: exponential backoff."""
    world.steps = [answer(502)]
    world.render(RETRY)
    assert world.slept == [1, 2, 4, 8, 16]


def test_a_retry_that_succeeds_sends_the_message(world: World) -> None:
    """Braze: Use retry logic for Connected Content, "When a retry succeeds"."""
    world.steps = [answer(500), answer(503), answer(200, '{"a": "fine"}')]
    rendering = world.render(RETRY + "{{r.a}}")
    assert (rendering.output, rendering.aborted) == ("fine", None)
    assert rendering.calls[0].attempts == 3


@pytest.mark.parametrize("status", [404, 400, 401, 302])
def test_what_is_no_server_failure_is_not_retried(world: World, status: int) -> None:
    """Braze: Make a Connected Content call, "Error handling": 500 and 502 go to the retry logic."""
    world.steps = [answer(status)]
    rendering = world.render("on" + RETRY)
    assert rendering.output == "on"
    assert len(world.sent) == 1


def test_without_retry_a_failure_is_tried_once(world: World) -> None:
    """Braze: Make a Connected Content call, "Error handling"."""
    world.steps = [answer(500)]
    assert world.render("on{% connected_content https://x.test %}").output == "on"
    assert len(world.sent) == 1


def test_calls_that_went_well_are_not_made_again_for_a_retry(world: World) -> None:
    """Braze: Use retry logic for Connected Content: the message is put back, not the call alone."""
    world.steps = [answer(200, "once "), answer(500), answer(200, "twice")]
    rendering = world.render(
        "{% connected_content https://x.test/1 :no_cache %}{% connected_content https://x.test/2 :retry %}"
    )
    assert rendering.output == "once twice"
    assert [request.url[-1] for request in world.sent] == ["1", "2", "2"]
    assert [call.attempts for call in rendering.calls] == [1, 2]


def test_abort_message_comes_before_the_retry_and_the_template_is_told_so(world: World) -> None:
    """Braze: Use retry logic for Connected Content, "Connected Content calls with abort and retry logic"."""
    world.steps = [answer(500), answer(200, '{"a": 1}')]
    rendering = world.render(
        RETRY + "{% if r.__http_status_code__ != 200 %}{% abort_message('no reviews') %}{% endif %}"
    )
    assert rendering.aborted == "no reviews"
    assert len(world.sent) == 1
    assert [mistake.kind for mistake in rendering.mistakes] == [MistakeKind.ABORT_BEFORE_RETRY]


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("{% abort_message('no reviews') %}", "no reviews"),
        ('{% abort_message("it\'s over") %}', "it's over"),
        ("{%- abort_message ( 'spaced' ) -%}", "spaced"),
        ("{% abort_message('two\nlines') %}", "two\nlines"),
        ("{% abort_message() %}", NO_REASON),
        ("{% abort_message('') %}", NO_REASON),
        ("{% abort_message %}", NO_REASON),
    ],
)
def test_abort_message_stops_the_message_with_its_reason(world: World, tag: str, reason: str) -> None:
    """Braze: Abort messages; Abort Connected Content, "Specify an abort reason"."""
    rendering = world.render("a{% if true %}" + tag + "{% endif %}{% connected_content https://x.test %}")
    assert (rendering.output, rendering.aborted) == ("", reason)
    assert world.sent == []


def test_abort_message_that_is_not_reached_does_nothing(world: World) -> None:
    """Braze: Abort messages: it works within conditionals."""
    rendering = world.render("a{% if false %}{% abort_message('x') %}{% endif %}b")
    assert (rendering.output, rendering.aborted) == ("ab", None)


@pytest.mark.parametrize("written", ["'no brackets'", "('open)", "({{ 'x' }})", "('{{ x }}')"])
def test_a_reason_is_quoted_text(world: World, written: str) -> None:
    """Braze: Abort Connected Content: the reason must be a string and cannot contain Liquid."""
    with pytest.raises(TemplateError, match="line 2: abort_message takes a reason in quotes"):
        world.render("\n{% abort_message" + written + " %}")


def test_an_in_app_message_is_not_retried_and_told_so(world: World) -> None:
    """Braze: Use retry logic for Connected Content, "How retries work": not for in-app messages."""
    world.steps = [answer(500)]
    rendering = world.render("on" + RETRY, channel=Channel.IN_APP)
    assert (rendering.output, rendering.aborted) == ("on", None)
    assert len(world.sent) == 1
    assert [mistake.kind for mistake in rendering.mistakes] == [MistakeKind.RETRY_NOT_AVAILABLE]
