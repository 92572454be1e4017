"""What a debugger may show: everything about a call but its secrets."""

import dataclasses

import pytest

from proxy.preview.braze import BasicCredential, NoConnectionError, Request, Response, TokenCredential
from proxy.preview.braze.exchange import BODY_SHOWN_CHARACTERS
from proxy.preview.braze.wire import Redaction

from .memory import World, answer


def test_a_record_tells_the_whole_call(world: World) -> None:
    """Braze: Connected Content Debugger, "Understand the debug output"."""
    world.takes = 0.25
    world.steps = [answer(200, '{"a": "ü"}', content_type="application/json", x_cache="hit")]
    rendering = world.render("\n{% connected_content https://x.test/a?b={{ 1 | plus: 1 }} :save r %}")
    (call,) = rendering.calls
    assert (call.line, call.method, call.url) == (2, "GET", "https://x.test/a?b=2")
    assert (call.status, call.duration_ms, call.attempts) == (200, 250.0, 1)
    assert call.response_headers == {"content-type": "application/json", "x-cache": "hit"}
    assert (call.body, call.body_bytes, call.body_cut) == ('{"a": "ü"}', 11, False)
    assert (call.saved_as, call.from_cache, call.succeeded) == ("r", False, True)


def test_a_long_body_is_cut_for_showing_and_says_so(world: World) -> None:
    world.steps = [answer(200, "x" * 30_000)]
    (call,) = world.render("{% connected_content https://x.test %}").calls
    assert (len(call.body), call.body_bytes, call.body_cut) == (BODY_SHOWN_CHARACTERS, 30_000, True)


def test_secrets_in_headers_are_starred_but_their_scheme_is_kept(world: World) -> None:
    """Braze: Connected Content Debugger, "Credential redaction"."""
    (call,) = world.render(
        '{% connected_content https://x.test :headers {"apikey": "k1", "X-Api-Key": "k2", "Cookie": "c=1", '
        '"Authorization": "Bearer abc", "X-Auth-Token": "t", "X-Shop": "shown"} %}'
    ).calls
    shown = call.request_headers
    assert [shown[name] for name in ("apikey", "X-Api-Key", "Cookie", "X-Auth-Token")] == ["***"] * 4
    assert shown["Authorization"] == "Bearer ***"
    assert shown["X-Shop"] == "shown"


def echoing(request: Request) -> Response:
    """Answer with everything that was sent, as a careless server does."""
    told = f"{request.url} {dict(request.headers)} {request.body!r}"
    return Response(400, {"Set-Cookie": "s=session-1", "X-Echo": told, "Content-Type": "text/plain"}, told.encode())


@pytest.mark.parametrize("failing", [False, True])
def test_a_secret_is_nowhere_in_a_rendering(world: World, failing: bool) -> None:
    """Braze: Connected Content Debugger, "Credential redaction"; also when the answer repeats the secret."""

    def refusing(request: Request) -> Response:
        raise NoConnectionError(f"could not reach {request.url}")

    world.steps = [refusing if failing else echoing]
    rendering = world.render(
        "{% connected_content https://x.test/a?apikey=SECRET-url&sku=A :method post :retry "
        ':headers {"X-Api-Key": "SECRET-header", "Authorization": "Basic '
        "{{ 'me:SECRET-basic' | base64_encode }}\"} :body client_secret=SECRET-body&a=1 %}"
        "{% connected_content https://u:SECRET-userinfo@x.test/b :auth_credentials c %}"
        "{% connected_content https://x.test/c :basic_auth b :method post"
        ' :body {"password": "SECRET-json"} %}',
        credentials={
            "b": BasicCredential("me", "SECRET-stored"),
            "c": TokenCredential({"X-Shop": "SECRET-token"}),
        },
    )
    assert "SECRET" not in repr(dataclasses.asdict(rendering))
    assert "U0VDUkVU" not in repr(dataclasses.asdict(rendering))
    assert "sku=A" in rendering.calls[0].url
    assert len(rendering.calls) == 3


def test_a_call_that_is_not_sent_shows_no_secret_either(world: World) -> None:
    tag = '{% connected_content ftp://u:SECRET-pass@x.test?token=SECRET-url :headers {"apikey": "SECRET-1"} %}'
    assert "SECRET" not in repr(dataclasses.asdict(world.render(tag)))


def test_a_token_in_an_answer_is_starred_where_it_is_shown_but_usable(world: World) -> None:
    """Braze: Make a Connected Content call, "Using Open Authentication"."""
    world.steps = [answer(200, '{"access_token": "SECRET-t", "expires_in": 5}'), echoing]
    rendering = world.render(
        "{% connected_content https://x.test/t :method post :save t %}"
        '{% connected_content https://x.test/a :headers {"Authorization": "Bearer {{t.access_token}}"} %}'
    )
    assert world.sent[1].headers["Authorization"] == "Bearer SECRET-t"
    assert "SECRET" not in repr(dataclasses.asdict(rendering))


@pytest.mark.parametrize(
    "url",
    [
        "https://x.test/a?sku=1&stars=5",
        "https://x.test/tokens/a?page=2",
        "https://x.test/?q=a=b&c",
    ],
)
def test_an_ordinary_url_is_shown_as_it_is(url: str) -> None:
    assert Redaction().url(url) == url


def test_an_idempotency_key_is_no_secret() -> None:
    assert Redaction().headers({"Idempotency-Key": "order-1"}) == {"Idempotency-Key": "order-1"}
