"""Braze's own filters, by the examples of its documentation."""

import pytest

from proxy.preview.braze import Profile, TemplateError

from .memory import World


@pytest.mark.parametrize(
    ("expression", "output"),
    [
        ("'hey' | md5", "6057f13c496ecf7fd777ceb9e79ae285"),
        ("'hey' | sha1", "7f550a9f4c44173a37664d938f1355f0f92a47a7"),
        ("'hey' | sha2", "fa690b82061edfd2852629aeba8a8977b57e40fcb77d1a7a28b26cba62591204"),
        ("'blah' | base64_encode", "YmxhaA=="),
        ("'hey' | hmac_sha1_hex: 'secret_key'", "2a3969bed25bfeefb00aca4063eb9590b4df8f0e"),
        ("'hey' | hmac_sha1: 'secret_key'", "2a3969bed25bfeefb00aca4063eb9590b4df8f0e"),
        ("'hey' | hmac_sha1_base64: 'secret_key'", "KjlpvtJb/u+wCspAY+uVkLTfjw4="),
        (
            "'hey' | hmac_sha256_hex: 'secret_key'",
            "8df897f8da3d7992fe57c8dbc6f27578cfbf2dcc4d0fbb4000b8c924841d508e",
        ),
        ("'hey' | hmac_sha256_base64: 'secret_key'", "jfiX+No9eZL+V8jbxvJ1eM+/LcxND7tAALjJJIQdUI4="),
        ("'hey<>hi' | url_escape", "hey%3C%3Ehi"),
        ("'hey<&>hi' | url_param_escape", "hey%3C%26%3Ehi"),
        ("123456 | number_with_delimiter", "123,456"),
        ("${hash} | property_accessor: 'a'", "42"),
        ("145 | money", "145.00"),
        ("145 | divided_by: 100.00 | money", "1.45"),
        ("17.8 | money", "17.80"),
        ("'350000.25' | plus: 0 | money", "350000.25"),
    ],
)
def test_the_examples_of_the_documentation(world: World, expression: str, output: str) -> None:
    """Braze: Advanced filters; Filters, "Money filters"."""
    person = Profile(attributes={"hash": {"a": 42, "b": 0}})
    assert world.render("{{ " + expression + " }}", person).output == output


@pytest.mark.parametrize(
    ("expression", "output"),
    [
        ("'https://x.test/a b?c=d&e=ü' | url_escape", "https://x.test/a%20b?c=d&e=%C3%BC"),
        ("'a/b?c d+e' | url_param_escape", "a%2Fb%3Fc%20d%2Be"),
        ("5 | url_param_escape", "5"),
        ("-1234567.891 | number_with_delimiter", "-1,234,567.891"),
        ("'about 5' | number_with_delimiter", "about 5"),
        ("'about 5' | money", "about 5"),
        ("nothing | money", ""),
        ("${hash} | property_accessor: ${key}", "1"),
        ("${hash} | property_accessor: 'none'", ""),
        ("'text' | property_accessor: 'a'", ""),
        ("${quoted} | json_escape", 'say \\"hi\\"\\n\\\\ ü'),
    ],
)
def test_the_edges_of_the_filters(world: World, expression: str, output: str) -> None:
    """Braze: Advanced filters; a key may come from an attribute."""
    person = Profile(attributes={"hash": {"k": 1}, "key": "k", "quoted": 'say "hi"\n\\ ü'})
    assert world.render("{{ " + expression + " }}", person).output == output


@pytest.mark.parametrize("name", ["url_param_escape", "url_escape", "base64_encode", "json_escape"])
def test_what_is_not_set_stays_nothing(world: World, name: str) -> None:
    assert world.render("[{{ nothing | " + name + " }}{{ nil | " + name + " }}]").output == "[]"


@pytest.mark.parametrize("name", ["lstrip", "rstrip", "find_index", "safe", "made_up"])
def test_a_filter_braze_does_not_have_is_a_template_error(world: World, name: str) -> None:
    """Braze: Filters, the "Supported" columns."""
    with pytest.raises(TemplateError, match=f"line 1: unknown filter '{name}'"):
        world.render("{{ 'x' | " + name + " }}")


@pytest.mark.parametrize(("expression", "name"), [("'a' | append", "append"), ("'a' | upcase: 1", "upcase")])
def test_too_few_or_too_many_values_are_told_without_the_words_of_python(
    world: World, expression: str, name: str
) -> None:
    with pytest.raises(TemplateError) as error:
        world.render("{{ " + expression + " }}")
    assert error.value.message == f"the filter '{name}' is given too few or too many values"
