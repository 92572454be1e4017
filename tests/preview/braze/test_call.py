"""Reading the ``connected_content`` tag."""

from itertools import permutations

import pytest

from proxy.preview.braze.markup import Call, CallSyntaxError, Written, parse_call

PARTS = [
    ":method post",
    ':headers {"A": "{{ x | default: "}" }}", "B": "{"}',
    ":body a={{ b | append: ' c' }}&d=e f",
    ":save answer",
    ":retry",
    ":cache_max_age 900",
]


@pytest.mark.parametrize("order", list(permutations(PARTS, 6))[::37])
def test_options_come_in_any_order_and_over_any_lines(order: tuple[str, ...]) -> None:
    """Braze: Make a Connected Content call; Local Connected Content variables, "HTTP POST"."""
    call = parse_call("https://x.test/a?b={{ c | url_param_escape }}&d=1\n\t" + "\n   ".join(order))
    assert call.url.text == "https://x.test/a?b={{ c | url_param_escape }}&d=1"
    assert call.options["method"].text == "post"
    assert call.options["headers"].text == '{"A": "{{ x | default: "}" }}", "B": "{"}'
    assert call.options["body"].text == "a={{ b | append: ' c' }}&d=e f"
    assert call.save == "answer"
    assert call.flags == {"retry"}
    assert call.options["cache_max_age"].text == "900"


def test_a_url_alone_asks_for_nothing_else() -> None:
    assert parse_call(" https://x.test \n") == Call(url=Written("https://x.test", 1))


@pytest.mark.parametrize(
    "body",
    [
        '{"foo": "bar", "note": "say :save here", "n": [1, {"x": "}"}]}',
        '{"foo":"bar","baz":"{{1|plus:1}}"}',
        '[{"sku": {{sku}}}, "\\"]"]',
        "{{postbody}}",
        "key1=value1&key2={{ ${user_id} | url_param_escape }}&three=with spaces",
        "time=10:30 :sharp",
    ],
)
def test_a_body_is_a_form_or_json_and_may_hold_spaces_and_liquid(body: str) -> None:
    """Braze: Local Connected Content variables, "HTTP POST" and "Providing JSON body"."""
    call = parse_call(f"https://x.test :body {body}\n :content_type application/json")
    assert call.options["body"].text == body
    assert call.options["content_type"].text == "application/json"


@pytest.mark.parametrize(
    ("written", "message", "position"),
    [
        ("", "needs a URL", 0),
        (":save x", "needs a URL", 0),
        ("https://x.test save x", "found save", 15),
        ("https://x.test :sav x", "no option :sav", 15),
        ("https://x.test :save", ":save needs a value", 15),
        ("https://x.test :body :save x", ":body needs a value", 15),
        ("https://x.test :save a :save b", "given twice", 23),
        ("https://x.test :save a.b", "name of a variable", 21),
        ("https://x.test :headers {", "never closed", 24),
        ("https://x.test?a={{b", "never closed", 17),
        ("https://x.test :retry 5", "found 5", 22),
    ],
)
def test_a_wrong_tag_says_what_and_where(written: str, message: str, position: int) -> None:
    with pytest.raises(CallSyntaxError, match=message) as caught:
        parse_call(written)
    assert caught.value.position == position
