"""The tag someone chose, written out: the one place that knows how a tag for this proxy should look."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from proxy.api.parameters import BadParameter, Query, skus, view
from proxy.preview.braze import Channel

SOURCES = ("event", "attribute", "fixed")
FALLBACKS = ("hide", "text", "abort")
FILTERS = (
    "stars",
    "language",
    "limit",
    "sort",
    "min_chars",
    "max_chars",
    "max_age_days",
    "with_image",
    "min_reviews",
    "min_average",
)
_DEFAULTS = {"limit": "3", "sort": "newest", "min_chars": "1", "with_image": "false", "min_reviews": "0"}
_TAKES_NO_FILTERS = frozenset({"stars"})


@dataclass(frozen=True)
class _Kind:
    """What a tag asks for: its address, the parameter with the SKU, and the variable the answer goes to, if any."""

    path: str
    parameter: str
    variable: str


KINDS = {
    "product": _Kind("/v1/reviews", "sku", "product"),
    "products": _Kind("/v1/products", "skus", "cart"),
    "stars": _Kind("/v1/summary", "sku", "rating"),
    "fragment": _Kind("/v1/fragment", "sku", ""),
}


@dataclass(frozen=True)
class Choices:
    """What was chosen. ``sku`` is the name of a property, or the SKU itself when ``source`` is ``fixed``.

    ``filters`` are the proxy's parameters as text, empty ones left out of the tag. ``credential`` is the name
    the pair is stored under in Braze.
    """

    channel: Channel
    host: str
    kind: str = "product"
    source: str = "event"
    sku: str = "item_sku"
    filters: Mapping[str, str] = field(default_factory=dict)
    credential: str = "reviews_proxy"
    fallback: str = "hide"
    fallback_text: str = ""
    display_locale: str = ""

    @property
    def chooses(self) -> bool:
        """Whether not all reviews are shown, or the best ones first, which the message then has to say."""
        stars = set(self.filters.get("stars", "").replace(" ", "").split(",")) - {""}
        return self.kind not in _TAKES_NO_FILTERS and (0 < len(stars) < 5 or self.filters.get("sort") == "highest")


@dataclass(frozen=True)
class Built:
    """The tag, and a block that uses it."""

    tag: str
    block: str


class BadChoices(ValueError):
    """Some choices are wrong; ``mistakes`` says for each name what it takes."""

    def __init__(self, mistakes: dict[str, str]) -> None:
        super().__init__("; ".join(mistakes.values()))
        self.mistakes = mistakes


def build(choices: Choices) -> Built:
    """Return the tag and its block.

    Raises:
        BadChoices: a choice the proxy would refuse, or one that can't be written as Liquid.

    """
    _check(choices)
    kind = KINDS[choices.kind]
    url = f"{choices.host}{kind.path}?" + "&".join(f"{name}={value}" for name, value in query(choices).items())
    written = "".join(f":{name} {value} " for name, value in options(choices).items())
    # A fragment stands in place of the tag: empty where there is nothing, and no Liquid could tell.
    block = _block(choices, kind.variable) if kind.variable else ""
    return Built(f"{{% connected_content {url}\n   {written}%}}", block)


def query(choices: Choices) -> dict[str, str]:
    """Return the parameters of the address, as they are written in it."""
    kind = KINDS[choices.kind]
    query = {kind.parameter: _sku(choices)}
    if choices.kind not in _TAKES_NO_FILTERS:
        query |= {
            name: quote(value, safe=",")
            for name in FILTERS
            if (value := choices.filters.get(name, "").strip()) and value != _DEFAULTS.get(name)
        }
        if not choices.channel.is_html:
            query["channel" if choices.kind == "fragment" else "format"] = "text"
    if choices.fallback != "abort" and choices.kind != "fragment":
        # The message goes out either way, so a Trustpilot that can't be had is only one more reason for the fallback.
        query["on_error"] = "empty"
    if locale := choices.display_locale.strip():
        query["display_locale"] = quote(locale)
    return query


def options(choices: Choices) -> dict[str, str]:
    """Return the tag's options and their values."""
    options = {"basic_auth": choices.credential}
    variable = KINDS[choices.kind].variable
    if choices.fallback == "abort" and variable:
        # An empty answer instead of an error is a good one to Braze: kept for longer than its usual five minutes, one
        # slow second would be a quarter of an hour without reviews.
        options["cache_max_age"] = "900"
    return options | ({"save": variable} if variable else {})


def _check(choices: Choices) -> None:
    mistakes: dict[str, str] = {}
    for name, allowed in (("kind", tuple(KINDS)), ("source", SOURCES), ("fallback", FALLBACKS)):
        if getattr(choices, name) not in allowed:
            mistakes[name] = f"{name} takes {', '.join(allowed)}"
    for name in FILTERS:
        if value := choices.filters.get(name, "").strip():
            try:
                view(Query({name: [value]}))
            except BadParameter as error:
                mistakes[name] = str(error)
    if choices.source == "fixed":
        try:
            skus(Query({"sku": [choices.sku]}))
        except BadParameter as error:
            mistakes["sku"] = str(error)
    elif not re.fullmatch(r"[^\s{}'\"](?:[^{}'\"]*[^\s{}'\"])?", choices.sku):
        mistakes["sku"] = "the name of the property that holds the SKU, such as item_sku"
    if not re.fullmatch(r"[A-Za-z0-9-]{0,35}", choices.display_locale.strip()):
        mistakes["display_locale"] = "a language such as de or de-DE"
    if not re.fullmatch(r"[\w-]+", choices.credential):
        mistakes["credential"] = "the name the credential is stored under in Braze, such as reviews_proxy"
    if mistakes:
        raise BadChoices(mistakes)


def _sku(choices: Choices) -> str:
    if choices.source == "fixed":
        return quote(choices.sku, safe=",")
    namespace = "event_properties" if choices.source == "event" else "custom_attribute"
    # A cart's property may be a list; joining leaves a text as it is.
    joined = " | join: ','" if choices.kind == "products" else ""
    return f"{{{{{namespace}.${{{choices.sku}}}{joined} | url_param_escape}}}}"


def _block(choices: Choices, variable: str) -> str:
    is_html = choices.channel.is_html
    shown = (_HTML if is_html else _TEXT)[choices.kind]
    disclosure = _DISCLOSURE[is_html] if choices.chooses else ""
    shown = shown.replace(_DISCLOSED_HERE, disclosure)
    if choices.fallback == "abort":
        return f"{{% unless {variable}.found %}}{{% abort_message('no reviews') %}}{{% endunless %}}\n{shown}"
    # In a text message every line break is seen; in HTML none is.
    opened, closed = ("{%", "%}") if is_html else ("{%-", "-%}")
    lines = [f"{opened} if {variable}.found {closed}", shown]
    if choices.fallback == "text" and (text := choices.fallback_text.strip()):
        lines += [f"{opened} else {closed}", f"<p>{html.escape(text)}</p>" if is_html else text]
    return "\n".join([*lines, f"{opened} endif {closed}"])


_DISCLOSED_HERE = "<disclosure>"
# By whether the message is HTML. Within a loop over products it is that product's.
_DISCLOSURE = {
    True: '\n<p style="margin:0 0 16px;color:#52606d;font-size:14px">{{ product.disclosure }}</p>',
    False: " ({{ product.disclosure }})",
}
_STARS = (
    '<p><span style="color:#a15c00">{{{{ {0}.stars_icons }}}}</span> '
    "{{{{ {0}.average_text }}}} from {{{{ {0}.total }}}} reviews</p>"
)
_QUOTES = """\
{{% for review in {0}.reviews %}}
<blockquote style="margin:0 0 16px;padding:12px 16px;border-left:3px solid #0b6e4f;background:#f4f7f6">
  <p style="margin:0 0 6px">{{{{ review.content }}}}</p>
  <p style="margin:0;color:#52606d">{{{{ review.stars_icons }}}}\
{{% if review.author != blank %}} {{{{ review.author }}}}{{% endif %}}</p>
</blockquote>
{{% endfor %}}<disclosure>"""
_HTML = {
    kind: f'<div style="font-family:Arial,sans-serif;line-height:1.5;color:#1f2933">\n{inside}\n</div>'
    for kind, inside in {
        "product": "{% if product.summary %}"
        + _STARS.format("product.summary")
        + "{% endif %}\n"
        + _QUOTES.format("product"),
        "products": "{% for product in cart.products %}{% if product.found %}\n<h3>{{ product.sku | escape }}</h3>\n"
        + _QUOTES.format("product")
        + "\n{% endif %}{% endfor %}",
        "stars": _STARS.format("rating"),
    }.items()
}
_AUTHOR = "{% if product.reviews[0].author != blank %} - {{ product.reviews[0].author }}{% endif %}"
# Plain quotes and hyphens: the typographic ones would take an SMS out of GSM-7.
_TEXT = {
    "product": '"{{ product.reviews[0].content }}"' + _AUTHOR + "<disclosure>",
    "products": "{%- for product in cart.products -%}{%- if product.found -%}\n"
    '{{ product.sku }}: "{{ product.reviews[0].content }}"' + _AUTHOR + "<disclosure>\n"
    "{% endif %}{%- endfor -%}",
    "stars": "Rated {{ rating.average_text }} of 5 by {{ rating.total }} customers.",
}

HOST = "https://reviews.example.com"
"""Stands in the ready templates for the address Braze reaches this proxy by."""
