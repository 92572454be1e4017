"""``${attributes}`` wherever Braze allows them."""

import pytest

from proxy.preview.braze import Profile, TemplateError

from .memory import World

ANN = Profile(
    attributes={"first_name": "Ann", "language": "en", "toys": ["truck", "train"], "it's": "odd"},
    custom_attributes={"zip code": "1050 K", "größe": "M", "games": 3, "sizes": {"shoe": 38}},
    event_properties={"sku": "A&B"},
    api_trigger_properties={"coupon": "SAVE10"},
    canvas_entry_properties={"cart": "c-1"},
    namespaces={"campaign": {"name": "Spring"}},
)


@pytest.mark.parametrize(
    ("template", "output"),
    [
        ("{{${first_name}}}", "Ann"),
        ("{{ ${first_name} | default: 'you' }}", "Ann"),
        ("{{${last_name} | default: 'you'}}", "you"),
        ("{{${first_name}-}}  !", "Ann!"),
        ("{{ ${it's} }}", "odd"),
        ("{{custom_attribute.${zip code}}}", "1050 K"),
        ("{{custom_attribute.${größe}}}", "M"),
        ("{{custom_attribute.${sizes}.shoe}}", "38"),
        ("{{event_properties.${sku}}}", "A&B"),
        ("{{api_trigger_properties.${coupon}}}", "SAVE10"),
        ("{{canvas_entry_properties.${cart}}}{{context.${cart}}}", "c-1c-1"),
        ("{{ campaign.${name} }}", "Spring"),
        ("${{custom_attribute.${games} | plus: 0.5}}", "$3.5"),
    ],
)
def test_an_attribute_is_read_from_its_namespace(world: World, template: str, output: str) -> None:
    """Braze: Supported personalization tags; Use Liquid, "Default attributes and custom attributes"."""
    assert world.render(template, ANN).output == output


@pytest.mark.parametrize(
    ("template", "output"),
    [
        ("{% if ${language} == 'en' %}yes{% endif %}", "yes"),
        ("{% if custom_attribute.${games} > 2 %}many{% endif %}", "many"),
        ("{% if {{custom_attribute.${games}}} == 3 %}three{% endif %}", "three"),
        ("{% assign g = {{custom_attribute.${games}}} %}{{g}}", "3"),
        ("{% assign g = custom_attribute.${games} | plus: 1 %}{{g}}", "4"),
        ("{% assign g = 4 %}{{custom_attribute.${games} | plus: {{g}}}}", "7"),
        ("{% for toy in ${toys} %}{{toy}} {% endfor %}", "truck train "),
        ("{% case ${language} %}{% when 'en' %}hi{% else %}?{% endcase %}", "hi"),
        (
            "{% assign t = 'a,b' | split: ',' %}{% if t contains {{${language}}} %}x{% else %}y{% endif %}",
            "y",
        ),
        ("{% assign x = '{{kept}} ${kept}' %}{{x}}", "{{kept}} ${kept}"),
    ],
)
def test_inside_a_tag_an_attribute_stands_with_or_without_double_braces(
    world: World, template: str, output: str
) -> None:
    """Braze: Use Liquid, "Exceptions for double brackets"."""
    assert world.render(template, ANN).output == output


def test_an_attribute_needs_its_dollar_and_braces(world: World) -> None:
    """Braze: Make a Connected Content call: attribute values must be surrounded by ``${}``."""
    assert world.render("[{{first_name}}]", ANN).output == "[]"


@pytest.mark.parametrize(
    "template",
    [
        "{{${nothing}}}",
        "{{event_properties.${nothing}}}",
        "{{nothing.at.all[0]}}",
        "{% for x in event_properties.${nothing} %}x{% endfor %}",
        "{% if ${nothing} > 1 %}x{% endif %}",
        "{% if nothing.inside == 'x' %}x{% endif %}",
    ],
)
def test_what_is_not_set_renders_to_nothing(world: World, template: str) -> None:
    """Braze: Supported personalization tags: a value that is not available is null."""
    assert world.render(template, ANN).output == ""


def test_html_comments_are_gone_before_liquid_is_read(world: World) -> None:
    """Braze: Use Liquid: tags within HTML comments do not render."""
    template = "a<!-- {{ broken {% \n {% abort_message() %} -->b{{${first_name}}}<!-- open"
    assert world.render(template, ANN).output == "abAnn<!-- open"


@pytest.mark.parametrize(
    ("template", "output"),
    [
        ("{% raw %}{{${first_name}}} {% x %}{% endraw %}", "{{${first_name}}} {% x %}"),
        ("{% comment %}{{ ${open {% comment %}{% endcomment %}{% endcomment %}-", "-"),
        ("function() { return `${first_name}` }", "function() { return `${first_name}` }"),
        ("{{ '}' | append: ${first_name} }}", "}Ann"),
    ],
)
def test_braces_that_are_not_attributes_stay(world: World, template: str, output: str) -> None:
    assert world.render(template, ANN).output == output


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("\n\n{{ ${first_name}", 3),
        ("\n{% if x", 2),
        ("{% raw %}\n", 1),
        ("\n{% comment %} {% if %}", 2),
        ("""a\n{{ ${it's "quoted"} }}""", 2),
        ("<!-- \n\n -->\n{% nonsense %}", 4),
    ],
)
def test_an_error_names_the_line_of_the_template_as_written(world: World, template: str, line: int) -> None:
    with pytest.raises(TemplateError) as caught:
        world.render(template)
    assert caught.value.line == line
