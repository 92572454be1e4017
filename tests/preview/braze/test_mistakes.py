"""Mistakes, told where they happen."""

import json

import pytest

from proxy.preview.braze import Channel, MistakeKind, Profile

from .memory import World, answer


def told(world: World, template: str, person: Profile | None = None) -> list[tuple[MistakeKind, int, str]]:
    return [(m.kind, m.line, m.message) for m in world.render(template, person).mistakes]


def test_a_sku_that_rendered_to_nothing_names_its_variable(world: World) -> None:
    """Braze: Connected Content Debugger: check that ``{{ }}`` points to fields that exist for the user."""
    expression = "{{event_properties.${item_sku} | url_param_escape}}"
    tag = "\n{% connected_content https://x.test/r?sku=" + expression + "&a=1 %}"
    ((kind, line, message),) = told(world, tag + "{{connected}}")
    assert (kind, line) == (MistakeKind.EMPTY_PARAMETER, 2)
    assert f"sku= arrives empty: {expression} rendered to nothing" in message


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sku=", ["sku"]),
        ("skus={{a}},{{b}}", ["skus"]),
        ("sku={{a}}&language={{b}}", ["sku", "language"]),
        ("sku=A&language=", []),
        ("sku=A&language={{b | default: 'en'}}", []),
        ("sku=0", []),
    ],
)
def test_parameters_that_arrive_empty_through_liquid_are_found(world: World, query: str, names: list[str]) -> None:
    mistakes = told(world, "{% connected_content https://x.test/r?" + query + " :save r %}")
    assert [message.partition("=")[0] for _, _, message in mistakes] == names


def test_a_missing_save_names_the_variable_that_waits_for_it(world: World) -> None:
    """Braze: Local Connected Content variables: without ``:save`` the answer is in ``connected``."""
    tag = "{% connected_content https://x.test/r?sku=A&l={{lang}} %}"
    ((kind, _, message),) = [m for m in told(world, tag + "{{result.reviews}}") if m[0] != "empty-parameter"]
    assert kind == MistakeKind.MISSING_SAVE
    assert "the template reads result, which nothing sets: add :save result" in message


def test_a_missing_save_is_found_when_nothing_reads_the_answer(world: World) -> None:
    """Braze: Local Connected Content variables."""
    ((kind, _, message),) = told(world, "{% connected_content https://x.test %}")
    assert kind == MistakeKind.MISSING_SAVE
    assert "{{connected}}" in message


@pytest.mark.parametrize(
    "template",
    [
        "{% connected_content https://x.test %}{{connected.a}}",
        "{% connected_content https://x.test %}{% if connected == nil %}{% abort_message() %}{% endif %}",
        "{% connected_content https://x.test :save r %}",
    ],
)
def test_a_json_answer_that_can_be_read_is_no_mistake(world: World, template: str) -> None:
    """Braze: Local Connected Content variables; Abort Connected Content."""
    assert told(world, template) == []


def test_text_in_a_variable_is_told(world: World) -> None:
    """Braze: Local Connected Content variables: to save an answer, return JSON."""
    world.steps = [answer(200, "plain")]
    rendering = world.render("{% connected_content https://x.test :save r %}{{r}}")
    assert rendering.output == "plain"
    assert [m.kind for m in rendering.mistakes] == [MistakeKind.NOT_JSON]


def test_parameters_the_proxy_ignored_are_named(world: World) -> None:
    """The contract: unknown parameters are named in ``X-Ignored-Parameters``."""
    world.steps = [answer(200, "{}", x_ignored_parameters="stras, foo")]
    ((kind, _, message),) = told(world, "{% connected_content https://x.test?stras=5 :save r %}")
    assert kind == MistakeKind.IGNORED_PARAMETERS
    assert "stras, foo" in message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (json.dumps({"title": "Bad Request", "detail": "sku is empty"}), "the answer is 400: sku is empty."),
        (json.dumps({"title": "Bad Request"}), "the answer is 400: Bad Request."),
        ("[]", "the answer is 400."),
        ("not json", "the answer is 400 and calls itself a problem, but can't be read."),
    ],
)
def test_a_problem_tells_its_detail(world: World, body: str, message: str) -> None:
    """The contract: answers that are not 200 are ``application/problem+json`` with a ``detail``."""
    world.steps = [answer(400, body, content_type="application/problem+json; charset=utf-8")]
    mistakes = told(world, "{% connected_content https://x.test :save r %}")
    assert mistakes == [(MistakeKind.PROBLEM, 1, message)]


REVIEWS = json.dumps({"reviews": [{"content": " Good & cheap, <b>buy</b> ", "author": "Ann of the Hill"}]})
DROP_IN = "https://x.test/v1/product-reviews/business-units/b/reviews?sku=A"


@pytest.mark.parametrize(
    ("url", "read", "message"),
    [
        ("https://x.test/v1/reviews?format=text", "{{r.reviews[0].content | strip | truncate: 9}}", "holds < and"),
        (
            "https://x.test/v1/reviews?format=text",
            "{{r.reviews[0].author}}",
            "leave out format=text, or add | escape",
        ),
        ("https://x.test/v1/reviews", "<p>{{r.reviews[0].content}}</p>", "{{r.reviews[0].content}} holds <"),
        (DROP_IN, "{{r.reviews[0].author}}", "is plain text in the e-mail's HTML"),
    ],
)
def test_text_that_stands_in_html_unescaped_is_found(world: World, url: str, read: str, message: str) -> None:
    """Braze: Filters, "escape": Liquid escapes only what is told to; the contract: ``format``."""
    world.steps = [answer(200, REVIEWS)]
    template = "\n{% connected_content " + url + " :save r %}" + read
    (mistake,) = world.render(template, channel=Channel.EMAIL).mistakes
    assert (mistake.kind, mistake.line) == (MistakeKind.UNESCAPED_TEXT, 2)
    assert message in mistake.message
    assert world.render(template, channel=Channel.SMS).mistakes == ()


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://x.test/v1/reviews", "{{r.reviews[0].author}}"),
        (DROP_IN, "{{r.reviews[0].author | escape}}{{r.reviews[0].content | strip | escape}}"),
        (DROP_IN, "{{r.reviews[0].content | strip | truncate: 5 | escape}}"),
        (DROP_IN, "{{r.reviews | size}}"),
    ],
)
def test_escaped_text_in_html_is_no_mistake(world: World, url: str, read: str) -> None:
    """Braze: Filters, "escape"; the contract: ``format`` is ``html`` where nothing else is asked."""
    world.steps = [answer(200, REVIEWS)]
    assert world.render("{% connected_content " + url + " :save r %}" + read, channel=Channel.EMAIL).mistakes == ()


def test_a_ready_fragment_is_html_and_nobody_is_to_escape_it(world: World) -> None:
    """The contract: ``/v1/fragment``."""
    world.steps = [answer(200, "<table><tr><td>Good &amp; cheap</td></tr></table>")]
    rendering = world.render("{% connected_content https://x.test/v1/fragment?sku=A %}", channel=Channel.EMAIL)
    assert (rendering.mistakes, "<table>" in rendering.output) == ((), True)


def test_an_ampersand_before_a_space_stands_in_html_as_it_is(world: World) -> None:
    """HTML, "Ampersands": it begins no character reference."""
    world.steps = [answer(200, json.dumps({"disclosure": "Showing our 4 & 5 star reviews"}))]
    template = "{% connected_content https://x.test/v1/reviews :save r %}{{r.disclosure}}"
    assert world.render(template, channel=Channel.EMAIL).mistakes == ()


def test_text_inserted_in_place_is_looked_at_too(world: World) -> None:
    """Braze: Local Connected Content variables: text replaces the tag."""
    world.steps = [answer(200, "one < two and three")]
    (mistake,) = world.render("{% connected_content https://x.test %}", channel=Channel.EMAIL).mistakes
    assert "{{connected}} holds <" in mistake.message
