"""Came up empty: every output, condition and loop that met nothing, with the nearest name that exists."""

import json

import pytest

from proxy.preview.braze import Empty, Profile

from .memory import World, answer

ANN = Profile(
    attributes={"first_name": "Ann", "address": {"city": "Oslo"}},
    custom_attributes={"shoe size": 38},
    event_properties={"item_sku": "TRUCK-01"},
)
BLOCK = {
    "found": True,
    "count": 1,
    "summary": {"average": 4.7, "total": 1153},
    "reviews": [{"content": "Great!", "stars": 5, "author": "Kevin", "reply": None}],
}
CALL = "{% connected_content https://x.test/v1/reviews?sku={{event_properties.${item_sku}}} :save product %}"


def empties(template: str, profile: Profile = ANN, *, body: object = BLOCK) -> tuple[Empty, ...]:
    return World(steps=[answer(200, json.dumps(body))]).render(template, profile).empties


@pytest.mark.parametrize(
    ("read", "nearest"),
    [
        ("first_name", "${first_name}"),
        ("${frist_name}", "${first_name}"),
        ("${item_sku}", "event_properties.${item_sku}"),
        ("item_sku", "event_properties.${item_sku}"),
        ("event_properties.${first_name}", "${first_name}"),
        ("event_properties.${item_skus}", "event_properties.${item_sku}"),
        ("custom_attribute.${shoe_size}", "custom_attribute.${shoe size}"),
        ("product.review[0].text", "product.reviews[0].content"),
        ("product.productReviews[0].consumer.displayName", "product.reviews[0].author"),
        ("products.reviews[0].content", "product.reviews[0].content"),
        ("result.reviews[0].content", "product.reviews[0].content"),
        ("product.reviews.content", "product.reviews[0].content"),
        ("product.reviews[0].rating", "product.reviews[0].stars"),
        ("product.average", "product.summary.average"),
        ("product.summary.Total", "product.summary.total"),
        ("${last_name}", None),
        ("product.reviews[3].content", None),
        ("product.reviews[0].reply.text", None),
        ("product.zzz", None),
        ("nothing_like_it", None),
    ],
)
def test_an_output_that_met_nothing_names_the_nearest(read: str, nearest: str | None) -> None:
    (empty,) = empties(CALL + "\n\n{{ " + read + " }}")
    assert (empty.kind, empty.line, empty.expression, empty.nearest) == ("output", 3, read, nearest)
    assert ("did you mean" in empty.message) is (nearest is not None)
    assert not empty.expected


@pytest.mark.parametrize(
    ("read", "because"),
    [
        ("${last_name}", "${last_name} is not set for this person"),
        ("event_properties.${x}", "event_properties.${x} is not set"),
        ("product.reviews[3].content", "product.reviews has 1 item, so [3] is nothing"),
        ("product.reviews[0].reply", "product.reviews[0].reply is null"),
        ("product.reviews[0].reply.text", "product.reviews[0].reply is null, so it has no text"),
        ("product.found.x", "product.found is text or a number, so it has no x"),
        ("product.zzz", "product has no zzz"),
        ("nothing_like_it", "nothing is called nothing_like_it"),
        ("product.reviews[0].content | remove: 'Great!'", "product.reviews[0].content comes to nothing after"),
    ],
)
def test_the_message_says_why(read: str, because: str) -> None:
    (empty,) = empties(CALL + "{{ " + read + " }}", body=BLOCK | {"found": True})
    assert because in empty.message


def test_a_variable_remembers_the_path_that_led_nowhere() -> None:
    (empty,) = empties(CALL + "{% assign r = product.review %}\n{{ r[0].text }}")
    assert (empty.line, empty.expression, empty.nearest) == (2, "r[0].text", "product.reviews[0].content")
    assert "comes from product.review[0].text" in empty.message


def test_a_filter_s_answer_to_nothing_is_no_way_out_but_a_default_is() -> None:
    found = empties(
        CALL + "{{ product.summry.average | round }}{{ product.zzz | default: 'x' }}{{ product.zzz | size }}"
    )
    assert [empty.expression for empty in found] == ["product.summry.average", "product.zzz"]


def test_a_condition_that_met_nothing_is_told_and_one_that_asks_for_it_is_expected() -> None:
    found = empties(
        CALL + "{% if product.totl > 3 %}{% endif %}\n{% if product.reviews[0].reply %}{% endif %}\n"
        "{% if ${last_name} == blank %}{% endif %}\n{% unless product.review %}{% endunless %}\n"
        "{% case ${language} %}{% when 'en' %}{% endcase %}\n"
        "{% if product.count == 1 %}{% elsif ${x} == 1 %}{% endif %}"
    )
    assert [(e.line, e.expression, e.nearest, e.expected) for e in found] == [
        (1, "product.totl", "product.summary.total", False),
        (2, "product.reviews[0].reply", None, True),
        (3, "${last_name}", None, True),
        (4, "product.review", "product.reviews", False),
        (5, "${language}", None, True),
    ]
    assert {empty.kind for empty in found} == {"condition"}


@pytest.mark.parametrize(
    ("loop", "nearest", "because"),
    [
        ("product.review", "product.reviews", "product has no review"),
        ("product", "product.reviews", "product is an object"),
        ("product.summary", None, "product.summary is an object"),
        ("product.count", None, "product.count is no list"),
        ("none", None, "nothing is called none"),
    ],
)
def test_a_loop_that_met_nothing_or_an_object_names_the_list(loop: str, nearest: str | None, because: str) -> None:
    (empty, *_) = empties(CALL + "{% for r in " + loop + " %}.{% endfor %}")
    assert (empty.kind, empty.nearest) == ("loop", nearest)
    assert because in empty.message


def test_an_empty_list_is_told_too() -> None:
    (empty,) = empties(CALL + "{% for r in product.reviews %}.{% endfor %}", body={"reviews": []})
    assert (empty.kind, empty.message) == ("loop", "product.reviews is an empty list.")


def test_what_stands_inside_a_call_has_the_line_of_the_template() -> None:
    (empty,) = empties('\n{% connected_content https://x.test?a=1\n:headers {"A": "{{ ${nick} }}"} :save r %}')
    assert (empty.line, empty.expression, empty.nearest) == (3, "${nick}", None)


def test_a_loop_tells_each_place_once_and_a_full_message_tells_nothing() -> None:
    body = {"reviews": [{"content": "a"}] * 50}
    assert len(empties(CALL + "{% for r in product.reviews %}{{ r.text }}{% endfor %}", body=body)) == 1
    assert (
        empties(CALL + "{% for r in product.reviews %}{{ r.content }}{% else %}-{% endfor %}{{ ${first_name} }}")
        == ()
    )


def test_a_message_that_is_not_sent_tells_why() -> None:
    world = World(steps=[answer(200, json.dumps(BLOCK))])
    rendering = world.render(CALL + "{% if product.review == nil %}{% abort_message('none') %}{% endif %}", ANN)
    assert rendering.aborted == "none"
    assert [empty.nearest for empty in rendering.empties] == ["product.reviews"]
