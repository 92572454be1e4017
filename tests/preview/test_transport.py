"""A template's calls go to this proxy's own app and nowhere else."""

from __future__ import annotations

import json
import time
from wsgiref.types import StartResponse

import pytest
import requests

from proxy import create_app
from proxy.clock import spawn
from proxy.preview.braze import Channel, NoAnswerInTimeError, RefusedError, Request
from proxy.preview.braze.wire import ANSWER_SECONDS, BODY_BYTES
from proxy.preview.message import Message, preview
from proxy.preview.people import InProcessTransport
from proxy.settings import Credential, Settings
from tests.preview.braze.endpoint import running_endpoint
from tests.preview.braze.test_seed import TOKEN
from tests.running import SECRET, RunningProxy, RunningSandbox, proxy_environment

from .conftest import Previewing

ELSEWHERE = [
    "http://169.254.169.254/",
    "http://169.254.169.254/v1/reviews?sku=A",
    "https://169.254.169.254:80/v1/x",
    "http://2852039166/v1/x",
    "http://0xA9FEA9FE/v1/x",
    "http://0251.0376.0251.0376/v1/x",
    "http://[::ffff:169.254.169.254]/v1/x",
    "http://[::ffff:a9fe:a9fe]/v1/x",
    "http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/v1/x",
    "http://169。254。169。254/v1/x",
    "http://metadata.google.internal/v1/x",
    "http://reviews.example.com@169.254.169.254/v1/x",
    "http://reviews.example.com%40169.254.169.254/v1/x",
    "http://169.254.169.254#@reviews.example.com/v1/x",
    "http://169.254.169.254?@reviews.example.com/v1/x",
    "http://169.254.169.254\\@reviews.example.com/",
    "http://reviews.example.com\\.evil.test/v1/x",
    "http://reviews.example.com.evil.test/v1/x",
    "http://evil.test/https://reviews.example.com/v1/x",
    "http://reviews.example.com:8080/v1/x",
    "http://reviews.example.com:443/v1/x",
    "http://reviews.example.com./v1/x",
    "{{ 'http://169.254' | append: '.169.254/v1/x' }}",
    "file:///etc/passwd",
    "FILE:/etc/passwd",
    "ftp://reviews.example.com/v1/x",
    "gopher://127.0.0.1:6379/_INFO",
    "javascript:alert(1)",
    "data:text/plain,x",
    "//169.254.169.254/v1/x",
    "http:169.254.169.254/v1/x",
    "http:///169.254.169.254/v1/x",
    "http://127.0.0.1:PORT/v1/x",
    "http://localhost:PORT/v1/x",
    "http://127.1:PORT/v1/x",
    "http://2130706433:PORT/v1/x",
    "http://0:PORT/v1/x",
    "http://[::1]:PORT/v1/x",
    "https://reviews.example.com/preview/ready",
    "https://reviews.example.com/v1/../preview/ready",
    "https://reviews.example.com/metrics",
    "https://reviews.example.com//169.254.169.254/",
]


def test_no_spelling_of_another_address_is_called(previewing: Previewing) -> None:
    assert len(ELSEWHERE) >= 30
    with running_endpoint() as endpoint:
        port = endpoint.url.rpartition(":")[2]
        for url in ELSEWHERE:
            tag = "[{% connected_content " + url.replace("PORT", port) + " :basic_auth a %}]"
            result = previewing.render(tag)
            (call,) = result["calls"]
            assert result["body"] == "[]", url
            assert call["status"] in (None, 404), url
            if call["status"] is None:
                assert call["outcome"].startswith(("refused, nothing was sent", "not sent")), url
                assert call["attempts"] == 0
        assert endpoint.received == []


def test_a_refused_host_is_named_with_what_may_stand_there(previewing: Previewing) -> None:
    result = previewing.render("{% connected_content https://api.shop.test/v1/x :save r %}")
    assert "api.shop.test is not its name" in result["calls"][0]["outcome"]
    assert "reviews.example.com or api.trustpilot.com" in result["calls"][0]["outcome"]
    assert [(mistake["kind"], mistake["line"]) for mistake in result["mistakes"]] == [("not-sent", 1)]


def test_an_address_with_a_slash_too_many_is_shown_as_none(previewing: Previewing) -> None:
    """Not as a redirect, which Braze would not follow (Make a Connected Content call, "Things to know")."""
    tag = "[{% connected_content https://reviews.example.com/v1//reviews?sku=TRUCK-01 :basic_auth a %}]"
    result = previewing.render(tag)
    assert result["body"] == "[]"
    assert result["calls"][0]["status"] == 404
    assert "404 Not Found" in result["calls"][0]["outcome"]


@pytest.mark.parametrize(
    ("address", "because"),
    [
        ("https://reviews.example.com/v1/invitations", "it would invite a customer"),
        ("https://invitations-api.trustpilot.com/v1/private/business-units/b/email-invitations", "invite a customer"),
        ("https://reviews.example.com/v1/cache/purge?sku=A", "a preview only reads"),
    ],
)
def test_nothing_that_writes_is_sent(previewing: Previewing, address: str, because: str) -> None:
    result = previewing.render("{% connected_content " + address + ' :method post :body {"a": 1} %}on')
    (call,) = result["calls"]
    assert "not sent from a preview" in call["outcome"]
    assert because in call["outcome"]
    assert call["status"] is None


@pytest.mark.parametrize("name", ["OWN", "reviews.example.com", "REVIEWS.example.com:443", "api.trustpilot.com"])
def test_the_proxys_names_are_called(previewing: Previewing, name: str) -> None:
    name = name.replace("OWN", previewing.url.removeprefix("http://"))
    scheme = "http" if "127." in name else "https"
    tag = f"{{% connected_content {scheme}://{name}/v1/summary?sku=TRUCK-01 :auth_credentials reviews_proxy %}}"
    assert previewing.render(tag + "{{connected.total}}")["body"] == "153"


def test_a_call_leaves_the_request_that_asked_for_it_alone(previewing: Previewing) -> None:
    """Each call is a request of its own inside the app, with its own id and its own timing."""
    tag = "{% connected_content https://reviews.example.com/v1/summary?sku=TRUCK-01 :basic_auth a :save r %}"
    answer = requests.post(
        f"{previewing.url}/preview/render",
        json={"channel": "sms", "body": tag + "{{r.total}}"},
        headers={"X-Api-Key": SECRET, "X-Request-Id": "the-page"},
        timeout=10,
    )
    assert answer.headers["X-Request-Id"] == "the-page"
    assert answer.json()["calls"][0]["response_headers"]["X-Request-Id"] != "the-page"


def test_a_slow_trustpilot_is_shown_as_braze_would_see_it(previewing: Previewing, sandbox: RunningSandbox) -> None:
    sandbox.behave("hang", seconds=3)
    tag = "{% connected_content https://reviews.example.com/v1/reviews?sku=LAMP-03 :basic_auth a :save r %}"
    result = previewing.render("on" + tag)
    assert (result["state"], result["body"]) == ("ready", "on")
    assert result["calls"][0]["status"] == 504
    assert "did not answer" in result["mistakes"][0]["message"]


def test_the_token_drop_in_is_the_one_post_let_through(sandbox: RunningSandbox) -> None:
    """The seed's first snippet, against the real endpoint; what the page shows of the call holds no token."""
    app = create_app(Settings.from_environment(proxy_environment(sandbox, TOKEN_ENDPOINT="true")))
    template = TOKEN.replace("API_KEY:API_SECRET", f"braze:{SECRET}")
    result = preview(
        Message(Channel.EMAIL, template), InProcessTransport(app, (), spawn), Credential("braze", SECRET)
    )
    assert result.calls[0]["status"] == 200
    assert result.calls[0]["request_headers"]["Authorization"] == "Basic ***"
    token = result.body.strip()
    assert len(token) > 20
    assert token not in json.dumps(result.calls)


def asked(url: str = "https://reviews.example.com/v1/x", seconds: float = ANSWER_SECONDS) -> Request:
    return Request("GET", url, {}, None, seconds, BODY_BYTES)


def test_an_answer_is_waited_for_two_seconds_and_all_of_them_fifteen() -> None:
    def never(_environ: object, _start: object) -> list[bytes]:
        time.sleep(1)
        return []

    with pytest.raises(NoAnswerInTimeError):
        InProcessTransport(never, (), spawn).send(asked(seconds=0.05))
    with pytest.raises(RefusedError, match="15 seconds"):
        InProcessTransport(never, (), spawn, until=time.monotonic() - 1).send(asked())


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"PROXY_TRUSTED_HOPS": "1", "PROXY_ALLOWED_CIDRS": "10.0.0.0/8"}, {"X-Forwarded-For": "10.1.2.3"}),
        ({"PROXY_ALLOWED_CIDRS": "127.0.0.0/8"}, {}),
    ],
)
def test_a_caller_from_an_allowed_network_may_preview(
    sandbox: RunningSandbox, settings: dict[str, str], headers: dict[str, str]
) -> None:
    tag = "{% connected_content https://reviews.example.com/v1/summary?sku=TRUCK-01 :basic_auth a :save r %}"
    asking = {"channel": "sms", "body": tag + "{{r.total}}"}
    with RunningProxy(sandbox, keep_alive=1, PREVIEW="true", **settings) as proxy:
        sent = {"X-Api-Key": SECRET, **headers}
        answer = requests.post(f"{proxy.url}/preview/render", json=asking, headers=sent, timeout=10)
    assert answer.json()["calls"][0]["status"] == 200
    assert answer.json()["body"] == "153"


def test_the_command_previews_whatever_networks_are_allowed(sandbox: RunningSandbox) -> None:
    environment = proxy_environment(sandbox, PROXY_ALLOWED_CIDRS="10.0.0.0/8", PROXY_TRUSTED_HOPS="1")
    app = create_app(Settings.from_environment(environment))
    tag = "{% connected_content https://reviews.example.com/v1/summary?sku=TRUCK-01 :basic_auth a :save r %}"
    message = Message(Channel.SMS, tag + "{{r.total}}")
    result = preview(message, InProcessTransport(app, (), spawn), Credential("braze", SECRET))
    assert (result.calls[0]["status"], result.body) == (200, "153")


def test_an_answer_that_braze_refuses_for_its_size_is_told_with_what_to_ask_for() -> None:
    def large(_environ: object, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b" " * (BODY_BYTES + 1)]

    tag = "{% connected_content https://reviews.example.com/v1/reviews?sku=TRUCK-01 :basic_auth a :save r %}"
    transport = InProcessTransport(large, (), spawn)
    result = preview(Message(Channel.SMS, tag + "x"), transport, Credential("braze", SECRET))
    (told,) = [mistake for mistake in result.mistakes if mistake["kind"] == "too-large"]
    assert "over 1 MB" in told["message"]
    assert [edit["text"] for edit in told["fix"]["edits"]] == ["&limit=3&max_chars=240"]
