"""What goes to Trustpilot's invitation API, and what each of its answers means."""

from __future__ import annotations

import json
import logging

import pytest

from proxy.clock import Deadline
from proxy.invitations.idempotency import Verdict
from proxy.trustpilot import (
    Failing,
    Malformed,
    OutcomeUnknown,
    RateLimited,
    Refused,
    TimedOut,
    TurnedAway,
    Unreachable,
)
from proxy.trustpilot.private import InvitationApi, read_link
from tests.trustpilot.upstream import Upstream, Walk

_TOKEN = (200, {"access_token": "token-1", "expires_in": 360_000})
_SECOND = (200, {"access_token": "token-2", "expires_in": 360_000})


def _api(upstream: Upstream, walk: Walk, user: str | None = "the user") -> InvitationApi:
    return InvitationApi(
        walk.calls,
        walk.tokens,
        api_url=upstream.url,
        invitations_url=f"{upstream.url}/invitations",
        business_user=user,
    )


def _soon() -> Deadline:
    return Deadline.after(60)


def test_an_invitation_goes_out_as_it_is(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [_TOKEN, (202, b'{"id": 7}')]
    verdict = _api(upstream, walk).invite("un/it", b'{"odd":  "spaces"}', _soon())
    assert (verdict, verdict.accepted) == (Verdict(202, b'{"id": 7}'), True)
    sent = upstream.asked[1]
    assert (sent.method, sent.body) == ("POST", b'{"odd":  "spaces"}')
    assert sent.path == "/v1/invitations/private/business-units/un%2Fit/email-invitations"
    assert sent.headers["Authorization"] == "Bearer token-1"
    assert sent.headers["x-business-user-id"] == "the user"
    assert (sent.headers["Content-Type"], sent.headers["Accept"]) == ("application/json", "application/json")


def test_without_a_business_user_none_is_named(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [_TOKEN, (200, b"")]
    assert _api(upstream, walk, None).invite("unit", b"{}", _soon()) == Verdict(200, b"")
    assert "x-business-user-id" not in upstream.asked[1].headers


@pytest.mark.parametrize(
    ("answer", "body"),
    [((422, b'{"why": 1}'), b'{"why": 1}'), ((404, b""), b""), ((404, b"<p>no"), b""), ((499, b"\xff"), b"")],
)
def test_a_4xx_is_final_and_its_body_passed_on_where_it_is_json(
    upstream: Upstream, walk: Walk, answer: tuple[int, bytes], body: bytes
) -> None:
    upstream.answers = [_TOKEN, answer]
    verdict = _api(upstream, walk).invite("unit", b"{}", _soon())
    assert (verdict, verdict.accepted) == (Verdict(answer[0], body), False)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((429, b"{}"), RateLimited),
        ((500, b"{}"), Failing),
        ((302, b""), Failing),
        ((403, b"<html>"), TurnedAway),
    ],
)
def test_what_may_be_tried_again_is_an_error(
    upstream: Upstream, walk: Walk, answer: tuple[int, bytes], error: type[Exception]
) -> None:
    upstream.answers = [_TOKEN, answer]
    upstream.headers = {"Retry-After": "77"}
    with pytest.raises(error) as raised:
        _api(upstream, walk).invite("unit", b"{}", _soon())
    assert vars(raised.value)["retry_after"] == 77


def test_a_200_that_is_not_the_apis_confirms_nothing(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [_TOKEN, (200, b"<p>maintenance")]
    upstream.headers = {"Retry-After": "77"}
    with pytest.raises(OutcomeUnknown, match=r"^Trustpilot answered 200 with something that is not JSON$") as raised:
        _api(upstream, walk).invite("unit", b"{}", _soon())
    assert raised.value.retry_after == 77


def test_an_invitation_that_may_have_been_read_has_no_known_outcome(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [_TOKEN, (200, b"{}")]
    walk.tokens.token(_soon())
    upstream.headers = {"Content-Length": "3", "Connection": "close"}
    with pytest.raises(OutcomeUnknown, match=r"^Trustpilot could not be reached$"):
        _api(upstream, walk).invite("unit", b"{}", _soon())


def test_an_invitation_that_was_not_sent_is_known_not_to_be(upstream: Upstream, walk: Walk) -> None:
    upstream.answers, upstream.headers = [_TOKEN], {"Connection": "close"}
    walk.tokens.token(_soon())
    api = _api(upstream, walk)
    with pytest.raises(TimedOut, match=r"^no time was left to ask Trustpilot$"):
        api.invite("unit", b"{}", Deadline.after(0))
    upstream.close()
    with pytest.raises(Unreachable) as raised:
        api.invite("unit", b"{}", _soon())
    assert type(raised.value) is Unreachable


def test_after_a_401_it_is_sent_once_more_with_a_new_token(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [_TOKEN, (401, b"{}"), _SECOND, (200, b"{}")]
    assert _api(upstream, walk).invite("unit", b"{}", _soon()).accepted
    assert [each.headers["Authorization"] for each in upstream.asked[1::2]] == ["Bearer token-1", "Bearer token-2"]


def test_a_second_401_is_a_refusal_and_renews_no_token_for_a_while(
    upstream: Upstream, walk: Walk, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answers = [_TOKEN, (401, b"{}"), _SECOND, (401, b"{}")]
    api = _api(upstream, walk)
    with caplog.at_level(logging.ERROR):
        with pytest.raises(Refused, match=r"^Trustpilot refuses the proxy's access token or business user with 401$"):
            api.invite("unit", b"{}", _soon())
        assert "Trustpilot refuses the proxy's access token for invitations with 401" in caplog.messages
        with pytest.raises(Refused, match=r"^Trustpilot refuses new access tokens too$"):
            api.invite("unit", b"{}", _soon())
    assert len(upstream.asked) == 5


def test_a_403_is_a_refusal_that_renews_no_token(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [_TOKEN, (403, b"{}")]
    with pytest.raises(Refused, match=r"with 403$"):
        _api(upstream, walk).invite("unit", b"{}", _soon())
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(("of_products", "base"), [(True, "product-reviews/business-units"), (False, "")])
def test_a_link_is_asked_for_where_its_kind_is_made(
    upstream: Upstream, walk: Walk, of_products: bool, base: str
) -> None:
    upstream.answers = [_TOKEN, (201, {"url": "https://t.example/x"})]
    verdict = _api(upstream, walk).link("un/it", {"email": "e"}, _soon(), of_products=of_products)
    assert verdict == Verdict(201, b"https://t.example/x")
    path = f"/v1/private/{base}" if of_products else "/v1/invitations/private/business-units"
    assert upstream.asked[1].path == f"{path}/un%2Fit/invitation-links"
    assert json.loads(upstream.asked[1].body) == {"email": "e"}
    assert upstream.asked[1].headers["Authorization"] == "Bearer token-1"


def test_a_refused_link_is_a_verdict(upstream: Upstream, walk: Walk) -> None:
    upstream.answers = [_TOKEN, (422, b'{"why": 1}')]
    assert _api(upstream, walk).link("unit", {}, _soon(), of_products=True) == Verdict(422, b'{"why": 1}')


@pytest.mark.parametrize("name", ["url", "reviewUrl"])
@pytest.mark.parametrize(
    "link", ["https://t.example", "https://t.example:8443/a?b=c&d=~e|f#g", "https://T-1.example/_A%20b[]^@"]
)
def test_a_link_has_one_of_two_names(name: str, link: str) -> None:
    assert read_link(json.dumps({name: link}).encode()) == link


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"https://t.example/x"',
        b"[" * 100_000,
        *(
            json.dumps({"url": link}).encode()
            for link in (
                7,
                None,
                "http://t.example/x",
                "https://t.example/<x",
                'https://t.example/"x',
                "https://t.example/x y",
                "https://t.example/>x",
                "https://t.example/`x",
                "https://t.example@evil.example",
                "https://t.example:x/",
                " https://t.example/",
            )
        ),
    ],
)
def test_what_may_not_stand_in_a_mail_is_no_link(body: bytes) -> None:
    with pytest.raises(Malformed, match=r"^Trustpilot's answer holds no link$"):
        read_link(body)


@pytest.mark.parametrize(("status", "accepted"), [(199, False), (200, True), (299, True), (300, False)])
def test_a_2xx_is_accepted(status: int, accepted: bool) -> None:
    assert Verdict(status, b"").accepted is accepted
