"""Templates written by anyone: errors are typed, and every rendering ends."""

import json

import pytest

from proxy.preview.braze import Profile, Request, Response, TemplateBoundError, TemplateError
from proxy.preview.braze.exchange import CALLS_PER_RENDER
from proxy.preview.braze.markup import TEMPLATE_CHARACTERS

from .memory import World, answer

CALL = "{% connected_content https://x.test %}"


@pytest.mark.parametrize(
    ("template", "line", "message"),
    [
        ("a\n{% if x %}\n\n", 2, "{% if %} is never closed by {% endif %}"),
        ("{% for x in y %}{% if x %}\n{% endif %}", 1, "{% for %} is never closed"),
        ("\n{% endif %}", 2, "unexpected tag 'endif'"),
        ("\n{% frobnicate %}", 2, "unexpected tag 'frobnicate'"),
        ("{% include 'secrets' %}", 1, "unexpected tag 'include'"),
        ("\n{{ 1 | divided_by: 0 }}", 2, "divided_by"),
        ("\n\n{{ '/w==' | base64_decode }}", 3, "base64_decode"),
        ("{% if 1 > 'a' %}{% endif %}", 1, "can't compare text with a number"),
        ("a\n{{ | }}", 2, "expected"),
        (
            "{% connected_content\nhttps://x.test\n:headers {\n'a': {{ 1 | nope }}} %}",
            4,
            "unknown filter 'nope'",
        ),
        ("{% connected_content\nhttps://x.test/{{ a..b }} %}", 2, "expected"),
        ("{% connected_content %}", 1, "needs a URL"),
        ("{% connected_content https://x.test\n:cache_max_age soon %}", 2, "number of seconds, found soon"),
        ("{% connected_content https://x.test\n:frob %}", 2, "no option :frob"),
    ],
)
def test_an_error_has_a_line_and_a_plain_message(world: World, template: str, line: int, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        world.render(template)
    assert caught.value.line == line
    assert message in caught.value.message
    assert "\n" not in caught.value.message


GROW = "{% for i in (1..40) %}{% assign a = a | FILTER: a %}{% endfor %}"


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in (1..999999999) %}{% endfor %}",
        "{% for i in (1..19000) %}{% endfor %}" * 2,
        "{% for i in (1..200) %}{% for j in (1..200) %}x{% endfor %}{% endfor %}",
        "{% tablerow i in (1..99999) %}{% endtablerow %}",
        "{{ (1..999999999) | join: ',' }}",
        "{% assign a = (1..999999999) | reverse %}",
        "{% assign a = 'xxxxxxxx' %}" + GROW.replace("FILTER", "append"),
        "{% assign a = 99999 %}" + GROW.replace("FILTER", "times"),
        "{% assign a = 'xxxxxxxxxxxxxxxx' %}{{ a" + " | replace: 'x', 'xxxxxxxxxxxxxxxx'" * 9 + " }}",
        "{% assign a = ${long} | split: '' | join: ${long} %}",
        "{{ ${many} | uniq | size }}",
        "{% for i in (1..9000) %}{% assign a = ${many} | sort: 'n' %}{% endfor %}",
        "{% for i in (1..9000) %}{% assign a = ${long} | sha2 %}{% endfor %}",
        "{{ ${long} | strip_html }}",
        "{% for i in (1..50) %}{% assign a = ${long} | append: i %}" + "{{ a }}" * 3 + "{% endfor %}",
        "{% for i in (1..9000) %}{{ i | plus: 1 | plus: 1 | plus: 1 }}{% endfor %}",
        "x" * (TEMPLATE_CHARACTERS + 1),
        "{{ a" + "[a" * 20_000 + "]" * 20_000 + " }}",
        "{% if a" + " and a" * 20_000 + " %}{% endif %}",
        "{{ " + "(" * 200_000 + " }}",
        "{{ " + "['" * 100_000 + " }}",
        "{{" + " " * 200_000 + "}}",
        "{% else" + " " * 200_000 + "-%}",
        "{% if true %}" * 40 + "{% endif %}" * 40,
    ],
)
def test_asking_for_too_much_ends_in_an_error(world: World, template: str) -> None:
    person = Profile(attributes={"long": "<!x" * 50_000, "many": [{"n": n} for n in range(5_000)]})
    with pytest.raises(TemplateBoundError):
        world.render(template, person)


@pytest.mark.parametrize(
    "template",
    [
        "{{ " * 80_000,
        "{% raw %}" * 20_000,
        "{% comment %}" * 15_000,
        "{% comment %}" + "{% comment " * 20_000,
        "{% if " * 40_000,
    ],
)
def test_a_thousand_open_ends_are_one_error(world: World, template: str) -> None:
    with pytest.raises(TemplateError, match=r"line 1: .* is never closed"):
        world.render(template)


def test_a_thousand_open_html_comments_are_text(world: World) -> None:
    assert world.render("<!--" * 50_000).output == "<!--" * 50_000


def test_a_message_makes_so_many_calls_and_no_more(world: World) -> None:
    world.render(CALL * CALLS_PER_RENDER)
    with pytest.raises(TemplateBoundError, match="more than 20 calls"):
        world.render("{% for i in (1..21) %}" + CALL + "{% endfor %}")


def test_a_loop_over_answers_makes_a_call_each(world: World) -> None:
    world.steps = [answer(200, json.dumps({"skus": ["A", "B"]})), answer(200, "a "), answer(200, "b ")]
    rendering = world.render(
        "{% connected_content https://x.test/cart :save cart %}"
        "{% for sku in cart.skus %}{% connected_content https://x.test/{{sku}} %}{% endfor %}"
    )
    assert rendering.output == "a b "
    assert [call.url for call in rendering.calls] == [f"https://x.test/{path}" for path in ("cart", "A", "B")]


def test_half_a_character_is_a_template_error(world: World) -> None:
    with pytest.raises(TemplateError, match="line 2: a value holds half a character"):
        world.render("\n{{${name}}}", Profile(attributes={"name": json.loads('"\\ud800"')}))


@pytest.mark.parametrize(
    "tag",
    [
        "{% for i in ${list} limit: 1.5 %}{% endfor %}",
        "{% for i in ${list} offset: ${hash} %}{% endfor %}",
        "{{ ${list} | concat: ${hash} }}",
        "{{ ${list} | upcase: 1 }}",
        "{% tablerow i in ${list} cols: ${hash} %}{% endtablerow %}",
    ],
)
def test_a_value_the_library_stumbles_over_is_a_template_error(world: World, tag: str) -> None:
    person = Profile(attributes={"hash": {"a": 1}, "list": [1, 2]})
    with pytest.raises(TemplateError, match="line 3: "):
        world.render("\n{% if true %}\n" + tag + "{% endif %}", person)


def test_a_bug_in_a_transport_is_not_blamed_on_the_template(world: World) -> None:
    def broken(_: Request) -> Response:
        raise LookupError("a bug")

    world.steps = [broken]
    with pytest.raises(LookupError, match="a bug"):
        world.render(CALL)
