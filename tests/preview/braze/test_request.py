"""What goes over the wire: headers, bodies, credentials, URLs."""

import base64
import json

import pytest

from proxy.preview.braze import (
    BasicCredential,
    Credentials,
    MistakeKind,
    Profile,
    TemplateError,
    TokenCredential,
)
from proxy.preview.braze.wire import SENDER_VERSION

from .endpoint import Endpoint, SocketTransport
from .memory import World

STORED: Credentials = {
    "shop": BasicCredential("user", "pässword"),
    "token": TokenCredential({"X-Shop-Key": "k-123456", "X-Plain": "plain-secret"}, "x.test"),
}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_braze_names_itself_and_takes_gzip(endpoint: Endpoint) -> None:
    """Braze: Connected Content Debugger, "Which request headers appear in the debugger"."""
    endpoint.says("/", "hello")
    World(steps=[SocketTransport().send]).render("{% connected_content " + endpoint.url + "/ %}")
    headers = endpoint.received[0].headers
    assert headers["User-Agent"] == f"Braze Sender {SENDER_VERSION}"
    assert headers["X-Braze-Sender-Version"] == SENDER_VERSION
    assert headers["Accept-Encoding"] == "gzip"


def test_a_tag_may_set_braze_s_headers_but_not_the_sender_version(world: World) -> None:
    """Braze: Connected Content Debugger: a tag's headers are sent as provided; the version is always set."""
    world.render(
        '{% connected_content https://x.test :headers {"user-agent": "me", "x-braze-sender-version": "0"} %}'
    )
    headers = {name.lower(): value for name, value in world.sent[0].headers.items()}
    assert headers["user-agent"] == "me"
    assert headers["x-braze-sender-version"] == SENDER_VERSION


@pytest.mark.parametrize(
    ("options", "content_type", "accept"),
    [
        ("", "application/json", "*/*"),
        (":method post", "application/x-www-form-urlencoded", "*/*"),
        (":content_type text/csv", "text/csv", "text/csv"),
        (":method post :content_type application/json", "application/json", "application/json"),
        (':headers {"content-type": "a/b"}', "a/b", "*/*"),
    ],
)
def test_content_type_and_accept(world: World, options: str, content_type: str, accept: str) -> None:
    """Braze: Local Connected Content variables, "Default behavior" and "HTTP POST"."""
    world.render("{% connected_content https://x.test " + options + " %}")
    headers = {name.lower(): value for name, value in world.sent[0].headers.items()}
    assert (headers["content-type"], headers["accept"]) == (content_type, accept)


def test_a_form_body_becomes_json_when_the_content_type_says_so(world: World) -> None:
    """Braze: Local Connected Content variables, "HTTP POST": Braze JSON-encodes the body."""
    world.render(
        "{% connected_content https://x.test :method post :body a=1&b=two%20words&c= "
        ":content_type application/json %}"
    )
    assert json.loads(world.sent[0].body or b"") == {"a": "1", "b": "two words", "c": ""}


def test_a_captured_json_body_goes_as_it_is(world: World) -> None:
    """Braze: Local Connected Content variables, "Body in a capture statement"."""
    world.render(
        '{% capture b %}\n{"a=b": "x y", "n": "{{ 1 | plus: 1 }}"}\n{% endcapture %}'
        "{% connected_content https://x.test :method post :body {{b}} :content_type application/json %}"
    )
    assert world.sent[0].body == b'{"a=b": "x y", "n": "2"}'


def test_headers_may_hold_liquid(world: World) -> None:
    """Braze: Make a Connected Content call, "Using Open Authentication", step 2."""
    world.render(
        "{% assign t = 'abc' %}{% connected_content https://x.test\n"
        ':headers {\n "Authorization": "Bearer {{ t | append: "d" }}",\n "X-N": 5 }\n%}'
    )
    assert world.sent[0].headers["Authorization"] == "Bearer abcd"
    assert world.sent[0].headers["X-N"] == "5"


def test_basic_auth_sends_a_stored_credential(world: World) -> None:
    """Braze: Make a Connected Content call, "Using basic authentication"."""
    rendering = world.render("{% connected_content https://x.test :basic_auth shop %}", credentials=STORED)
    assert world.sent[0].headers["Authorization"] == basic("user", "pässword")
    assert rendering.calls[0].request_headers["Authorization"] == "Basic ***"


def test_auth_credentials_sends_stored_headers_and_the_record_stars_each(world: World) -> None:
    """Braze: Make a Connected Content call, "Using token authentication"."""
    tag = "{% connected_content https://api.x.test/a :auth_credentials token %}"
    rendering = world.render(tag, credentials=STORED)
    assert world.sent[0].headers["X-Plain"] == "plain-secret"
    shown = rendering.calls[0].request_headers
    assert (shown["X-Plain"], shown["X-Shop-Key"]) == ("***", "***")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (":basic_auth gone", "no basic authentication credential named gone"),
        (":basic_auth token", "no basic authentication credential named token"),
        (":auth_credentials gone", "no token credential named gone"),
        (":auth_credentials token", "not allowed for other.test"),
    ],
)
def test_a_call_without_its_credential_is_not_sent(world: World, options: str, reason: str) -> None:
    """Braze: Make a Connected Content call: calls that use a deleted credential are aborted."""
    tag = "{% connected_content https://other.test " + options + " %}on"
    rendering = world.render(tag, credentials=STORED)
    assert world.sent == []
    assert rendering.output == "on"
    assert reason in rendering.calls[0].outcome
    assert [mistake.kind for mistake in rendering.mistakes] == [MistakeKind.NOT_SENT]


def test_a_user_and_password_in_the_url_become_basic_authorization(world: World) -> None:
    """Braze: Connected Content Debugger: Braze derives a Basic header from ``user:pass@host``."""
    world.render("{% connected_content https://me:p%40ss@x.test/a %}")
    assert world.sent[0].url == "https://x.test/a"
    assert world.sent[0].headers["Authorization"] == basic("me", "p@ss")


def test_only_get_and_post_exist(world: World) -> None:
    """Braze: Make a Connected Content call: GET and POST only."""
    with pytest.raises(TemplateError, match="line 2: :method is get or post, found put"):
        world.render("{% connected_content https://x.test\n :method PUT %}")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x.test",
        "file:///etc/passwd",
        "x.test/a",
        "https://",
        "{{nothing}}x",
        "https://x.test:99999",
        "https://x.test/" + "a" * 9_000,
    ],
)
def test_what_is_no_web_address_is_not_sent(world: World, url: str) -> None:
    """Braze: Make a Connected Content call, "Error handling": HTTP on port 80 and HTTPS on port 443 only."""
    rendering = world.render("{% connected_content " + url + " %}")
    assert world.sent == []
    assert [mistake.kind for mistake in rendering.mistakes] == [MistakeKind.NOT_SENT]


@pytest.mark.parametrize(("port", "warned"), [("", False), (":443", False), (":80", False), (":8000", True)])
def test_another_port_is_called_here_but_warned_of(world: World, port: str, warned: bool) -> None:
    """Braze: Make a Connected Content call, "Error handling": only ports 80 and 443."""
    rendering = world.render("{% connected_content https://x.test" + port + "/a %}")
    assert len(world.sent) == 1
    assert (MistakeKind.PORT in [mistake.kind for mistake in rendering.mistakes]) is warned


def test_a_value_in_a_url_wants_url_param_escape(world: World) -> None:
    """Braze: Make a Connected Content call, "Adding variables"."""
    person = Profile(event_properties={"sku": "Ä&1 <2>"})
    tag = "{% connected_content https://x.test/?sku={{event_properties.${sku}FILTER}} %}"
    good = world.render(tag.replace("FILTER", " | url_param_escape"), person)
    bad = world.render(tag.replace("FILTER", ""), person)
    assert [request.url for request in world.sent] == [
        "https://x.test/?sku=%C3%84%261%20%3C2%3E",
        "https://x.test/?sku=%C3%84&1%20%3C2%3E",
    ]
    assert good.mistakes[:-1] == ()
    assert bad.mistakes[0].kind == MistakeKind.URL_CHARACTERS
    assert "Ä, a space, <, >" in bad.mistakes[0].message


def test_non_breaking_spaces_are_stripped_from_urls(world: World) -> None:
    """Braze: Troubleshoot webhook and Connected Content requests, "Non-breaking spaces in the URL"."""
    world.render("{% connected_content https://x.test/{{ 'a\u00a0b' }}?c=d %}")
    assert world.sent[0].url == "https://x.test/ab?c=d"


@pytest.mark.parametrize("value", ["a{{ nl }}b", "snow {{ 'day ☃' }}"])
def test_a_header_that_could_not_be_sent_is_not_tried(world: World, value: str) -> None:
    template = "{% capture nl %}1\n2{% endcapture %}{% connected_content https://x.test :headers "
    rendering = world.render(template + '{"X-A": "' + value + '"} %}')
    assert world.sent == []
    assert "the header X-A" in rendering.calls[0].outcome


@pytest.mark.parametrize("headers", ['{"a": 1,}', '["a"]', '{"a": {}}', "{{nothing}}", '{"a": "{{ q }}"}'])
def test_headers_that_are_no_json_object_of_text_are_a_template_error(world: World, headers: str) -> None:
    with pytest.raises(TemplateError, match=r"^line 2: "):
        world.render("{% assign q = '\"' %}{% connected_content https://x.test\n:headers " + headers + " %}")
