"""What only Braze has: from the profile's sample data, or a placeholder that says what it would be."""

import pytest

from proxy.preview.braze import Channel, MistakeKind, Profile, Rendering, TemplateError

from .memory import World, answer

GAMES = {"1234": {"title": "Tales", "price": 7.49}, "1235": {"title": "Teslagrad", "price": 5}}
SAMPLES: dict[str, dict[str, object]] = {
    "catalog_items": {"Games": GAMES, "Messages": {"hi": {"text": "Welcome, {{${first_name}}} {{${city}}}!"}}},
    "catalog_selection_items": {"Games": {"cheap": [GAMES["1235"]]}},
    "promotion": {"spring25": "SPRING-1"},
    "shopping_cart": {"c-1": {"products": [{"product_name": "Truck"}]}},
    "content_blocks": {
        "Footer": "Bye, {{${first_name}}}!{% assign seen = 'yes' %}",
        "Loop": "{{content_blocks.${Loop}}}",
    },
    "campaign": {"name": "Spring"},
}
ANN = Profile(
    attributes={"first_name": "Ann", "city": "Oslo"},
    custom_attributes={"wishlist": ["1235", "9999"]},
    canvas_entry_properties={"cart_id": "c-1"},
)


def rendered(template: str, *, samples: bool, channel: Channel = Channel.SMS) -> Rendering:
    profile = Profile(
        attributes=ANN.attributes,
        custom_attributes=ANN.custom_attributes,
        canvas_entry_properties=ANN.canvas_entry_properties,
        namespaces=SAMPLES if samples else {},
    )
    return World().render(template, profile, channel=channel)


@pytest.mark.parametrize(
    ("template", "from_samples", "placeholder"),
    [
        (
            "{% catalog_items Games 1234 %}{{items[0].title}}",
            "Tales",
            "[the title of item 1234 of the catalog Games]",
        ),
        (
            "{% catalog_items Games {{ custom_attribute.${wishlist[0]} }} %}{{items[0].price | plus: 1}}",
            "6",
            "[the price of item 1235 of the catalog Games]",
        ),
        (
            "{% catalog_items Games 1234 1235 %}{% for i in items %}{{i.title}} {% endfor %}{{items.size}}",
            "Tales Teslagrad 2",
            "[the title of item 1234 of the catalog Games] [the title of item 1235 of the catalog Games] 2",
        ),
        (
            "{% catalog_selection_items Games cheap %}{{items[0].title}}",
            "Teslagrad",
            "[the title of item 1 of the selection cheap of the catalog Games]",
        ),
        ("{% promotion('spring25') %}", "SPRING-1", "[a code of the promotion list spring25]"),
        (
            "{% shopping_cart {{context.${cart_id}}} :abort_if_not_abandoned false %}"
            "{% for p in shopping_cart.products %}{{p.product_name}}{% endfor %}",
            "Truck",
            "[the product name of the products of the person's shopping cart]",
        ),
        ("{{content_blocks.${Footer}}}", "Bye, Ann!", "[the Content Block Footer]"),
        ("{{content_blocks.${Footer} | id: 'cb1'}}{{seen}}", "Bye, Ann!yes", "[the Content Block Footer]"),
        ("{% render 'sign_off', name: 'Ann' %}!", "[the snippet sign_off]!", "[the snippet sign_off]!"),
        ("{{campaign.${name} | upcase}}", "SPRING", "[the name of the campaign]"),
        ("{{campaign.${name} | append: '!'}}", "Spring!", "[the name of the campaign]!"),
        ("{{${set_user_to_unsubscribed_url}}}", "[the link to unsubscribe]", "[the link to unsubscribe]"),
        (
            "{{targeted_device.${os}}}",
            "[the os of the device that gets the message]",
            "[the os of the device that gets the message]",
        ),
        (
            "{% capture c %}{% promotion('spring25') %}{% endcapture %}Use {{c}}",
            "Use SPRING-1",
            "Use [a code of the promotion list spring25]",
        ),
        ("{% translation hi %}Hello {{${first_name}}}{% endtranslation %}", "Hello Ann", "Hello Ann"),
        ("a{% message_extras :key city :value {{${city}}} %}b", "ab", "ab"),
    ],
)
def test_it_comes_from_sample_data_or_is_a_placeholder(template: str, from_samples: str, placeholder: str) -> None:
    """Braze: Using catalogs; Selections; Promotion codes; eCommerce use cases; Content Blocks; Message extras tag."""
    assert rendered(template, samples=True).output == from_samples
    assert rendered(template, samples=False).output == placeholder


def test_a_placeholder_is_grey_in_html_and_plain_inside_its_tags() -> None:
    template = "<a href='{{${set_user_to_unsubscribed_url}}}'>{% promotion('a<b') %}</a>"
    rendering = rendered(template, samples=False, channel=Channel.EMAIL)
    assert rendering.output.startswith("<a href='[the link to unsubscribe]'><span style=\"background:#e5e7eb")
    assert ">a code of the promotion list a&lt;b</span></a>" in rendering.output
    assert rendering.placeholders == ("the link to unsubscribe", "a code of the promotion list a<b")


def test_a_condition_on_a_placeholder_is_told() -> None:
    template = (
        "{% if {{targeted_device.${platform}}} == 'ios' %}i{% else %}other{% endif %}"
        "{% if {{campaign.${name}}} %}c{% endif %}"
    )
    rendering = rendered(template, samples=False)
    assert rendering.output == "otherc"
    ((kind, message),) = [(empty.kind, empty.message) for empty in rendering.empties]
    assert kind == "condition"
    assert "the preview doesn't know the platform of the device" in message


def test_an_item_braze_does_not_have_is_no_item() -> None:
    """Braze: Using catalogs, "Using Liquid": an unknown id gives an items array without objects."""
    rendering = rendered("{% catalog_items Games 9999 {{nothing}} %}{{items.size}}{{items[0].title}}", samples=True)
    assert rendering.output == "0"
    assert "items has 0 items" in rendering.empties[-1].message


def test_liquid_in_a_catalog_is_rendered_when_asked_for_with_what_the_message_reads() -> None:
    """Braze: Using catalogs, "Templating catalog items including Liquid"."""
    plain = rendered("{% catalog_items Messages hi %}{{items[0].text}}", samples=True)
    assert plain.output == "Welcome, {{${first_name}}} {{${city}}}!"
    again = rendered("{{${first_name}}}: {% catalog_items Messages hi :rerender %}{{items[0].text}}", samples=True)
    assert again.output == "Ann: Welcome, Ann !"
    assert ":rerender has only what the message itself reads" in again.empties[0].message


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("\n{% promotion %}", "promotion takes the name of a list in quotes"),
        ("\n{% promotion(spring25) %}", "promotion takes the name of a list in quotes"),
        ("\n{% catalog_items %}", "catalog_items is written like {% catalog_items Games 1234 %}"),
        ("\n{% shopping_cart {{x %}", "never closed"),
        ("\n{% translation a %}text", "{% translation %} is never closed by {% endtranslation %}"),
        ("\n{{content_blocks.${Loop}}}", "the Content Block Loop stands in itself"),
        ("\n{{content_blocks.${Wrong}}}", "in the Content Block Wrong: unknown filter 'nope'"),
    ],
)
def test_a_tag_of_braze_s_that_is_wrong_says_how_it_is_written(template: str, message: str) -> None:
    profile = Profile(
        namespaces={"content_blocks": {"Loop": "{{content_blocks.${Loop}}}", "Wrong": "\n\n{{ 1 | nope }}"}}
    )
    with pytest.raises(TemplateError) as caught:
        World().render(template, profile)
    assert caught.value.line == 2
    assert message in caught.value.message


@pytest.mark.parametrize("written", [":value 1 :key a", ":key a", "a :key b :value c"])
def test_message_extras_that_braze_might_leave_out_are_told(written: str) -> None:
    """Braze: Message extras tag, "Checking syntax"."""
    (mistake,) = rendered("{% message_extras " + written + " %}", samples=False).mistakes
    assert mistake.kind == MistakeKind.MESSAGE_EXTRAS


def test_a_path_may_stand_inside_the_braces() -> None:
    """Braze: Tutorials, "Abandoned cart reminders": ``{{custom_attribute.${cart_items[0]}}}``."""
    profile = Profile(attributes={"address": {"city": "Oslo"}, "items": ["a", "b"]}, custom_attributes={"a.b": "dot"})
    template = "{{${address.city}}} {{${items[1]}}} {{${items[-1]}}} {{custom_attribute.${a.b}}} {{${address}.city}}"
    assert World().render(template, profile).output == "Oslo b b dot Oslo"


def test_rerender_renders_the_answer_one_level_deep() -> None:
    """Braze: Pull user profile data in Connected Content calls."""
    nested = "{% connected_content https://y.test %}"
    world = World(steps=[answer(200, "Hi {{${first_name}}} {{${city}}}" + nested)])
    rendering = world.render("{{${first_name}}}: {% connected_content https://x.test :rerender %}", ANN)
    assert rendering.output == "Ann: Hi Ann " + nested
    assert len(world.sent) == 1


def test_rerender_comes_before_the_json_is_read() -> None:
    """Braze: Pull user profile data …, "Use json_escape with Liquid tags that could break the JSON format"."""
    profile = Profile(attributes={"name": 'A"nn'})
    tag = "{% connected_content https://x.test?n={{${name} | url_param_escape}} :rerender :save r %}[{{r.a}}]"
    good = World(steps=[answer(200, '{"a": "{{${name} | json_escape}}"}')]).render(tag, profile)
    bad = World(steps=[answer(200, '{"a": "{{${name}}}"}')]).render(tag, profile)
    assert good.output == '[A"nn]'
    assert bad.output == "[]"
    assert [mistake.kind for mistake in bad.mistakes] == [MistakeKind.NOT_JSON]


def test_without_rerender_an_answer_s_liquid_is_text() -> None:
    world = World(steps=[answer(200, "Hi {{${first_name}}}")])
    assert world.render("{% connected_content https://x.test %}", ANN).output == "Hi {{${first_name}}}"


def test_a_wrong_liquid_in_an_answer_has_the_line_of_its_tag() -> None:
    world = World(steps=[answer(200, "\n\n\n{{ 1 | nope }}")])
    with pytest.raises(TemplateError, match="line 2: in the answer, which :rerender renders: unknown filter 'nope'"):
        world.render("\n{% connected_content https://x.test :rerender %}", ANN)


def test_accept_and_a_bare_cache_max_age(world: World) -> None:
    """Braze: Cache Connected Content responses: a POST is cached when ``:cache_max_age`` is there."""
    post = "{% connected_content https://x.test :method post :accept text/csv :cache_max_age :save r %}"
    rendering = world.render(post + post)
    assert len(world.sent) == 1
    assert world.sent[0].headers["Accept"] == "text/csv"
    assert rendering.calls[0].cached_seconds == 300
