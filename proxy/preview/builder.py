"""The tag someone chose, written out or changed inside a message: the one place that knows how one should look."""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from itertools import product
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from proxy.api.parameters import VIEW, BadParameter, Query, skus, view
from proxy.preview.braze import Channel
from proxy.preview.findings import CallTag, Edit, applied, call_tags

SOURCES = ("event", "attribute", "fixed")
FALLBACKS = ("hide", "text", "abort")
FILTERS = (
    *("stars", "language", "limit", "sort", "min_chars", "max_chars", "max_age_days"),
    *("with_image", "min_reviews", "min_average"),
)
_DEFAULTS = {one.name: str(one.default).lower() for one in VIEW.values() if one.name in FILTERS}
_TAKES_NO_FILTERS = frozenset({"stars"})
_BLOCKS = tomllib.loads((files(__package__) / "templates/blocks.toml").read_text("utf-8"))


class _Kind(NamedTuple):
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
    blocks = _BLOCKS["html" if is_html else "text"]
    shown = blocks[choices.kind]
    if choices.fallback == "abort":
        return f"{{% unless {variable}.found %}}{{% abort_message('no reviews') %}}{{% endunless %}}\n{shown}"
    # In a text message every line break is seen; in HTML none is.
    opened, closed = ("{%", "%}") if is_html else ("{%-", "-%}")
    lines = [f"{opened} if {variable}.found {closed}", shown]
    if choices.fallback == "text" and (text := choices.fallback_text.strip()):
        lines += [f"{opened} else {closed}", f"<p>{html.escape(text)}</p>" if is_html else text]
    return "\n".join([*lines, f"{opened} endif {closed}"])


HOST = "https://reviews.example.com"
"""Stands in the ready templates for the address Braze reaches this proxy by."""


# ---- The tag in a message

_SKU = re.compile(r"\{\{\s*(event_properties|custom_attribute)\.\$\{\s*([^{}]+?)\s*\}(?:\s*\|[^{}]*)?\s*\}\}")
_SOURCES = {"event_properties": "event", "custom_attribute": "attribute"}
_ANY_TEXT = "\ufdd0"


@dataclass(frozen=True)
class Read:
    """What the builder can do with a message.

    ``choices`` are those that the message's tag says, or None, and ``because`` says why the builder steps back.
    ``block`` is where the text that the builder wrote around the tag begins and ends; None: that is the author's.
    """

    choices: Choices | None = None
    because: str = ""
    tag: CallTag | None = None
    block: tuple[int, int] | None = None

    def shown(self) -> dict[str, Any]:
        chosen = self.choices and {name: value for name, value in asdict(self.choices).items() if name != "host"}
        return {"choices": chosen, "because": self.because, "writes_block": self.block is not None}


def read(template: str, host: str, channel: Channel) -> Read:
    """Return what the one tag of ``template`` says; ``channel`` is the message's, for a message without any text."""
    if not template.strip():
        return Read(Choices(channel, host), block=(0, len(template)))
    tags = call_tags(template)
    if len(tags) != 1:
        return Read(because=f"it makes {len(tags)} calls" if tags else "it makes no call")
    (tag,) = tags
    kind = next((name for name, kind in KINDS.items() if kind.path == tag.path), None)
    given = dict(tag.parameters())
    sku = given.get(KINDS[kind].parameter) if kind else None
    if kind is None or sku is None or not re.match(r"https?://[^/{}]+/v1/", tag.url):
        return Read(because="its call is not one that the builder writes")
    source, value = _sku_of(sku)
    if liquid := next((name for name in (*FILTERS, "display_locale") if "{" in given.get(name, "")), None):
        return Read(because=f"its {liquid} comes from Liquid")
    is_text = "text" in (given.get("format"), given.get("channel"))
    said = Choices(
        Channel.PUSH if is_text else Channel.EMAIL,
        host,
        kind,
        source,
        value,
        {name: unquote(given[name]) for name in FILTERS if name in given},
        str(tag.value("basic_auth") or ""),
        display_locale=unquote(given.get("display_locale", "")),
    )
    return _with_block(template, tag, said)


def rewritten(template: str, chosen: Choices) -> str | None:
    """Return ``template`` with its tag rewritten to what is chosen, None where the builder steps back.

    Raises:
        BadChoices: see `proxy.preview.builder.build`.

    """
    now = read(template, chosen.host, chosen.channel)
    if now.choices is None:
        return None
    said = now.choices
    if not said.credential and not chosen.credential:
        # The tag names none, or another way; that stays so.
        said, chosen = replace(said, credential="kept"), replace(chosen, credential="kept")
    if now.tag and now.block is None:
        # What is around the tag reads what the tag brings, so that stays as it is.
        chosen = replace(chosen, kind=said.kind, fallback=said.fallback, channel=said.channel)
    built = build(replace(chosen, source="event", sku="item_sku") if chosen.source == "kept" else chosen)
    if now.tag is None:
        return f"{built.tag}\n{built.block}".strip() + "\n"
    edits = _tag_edits(template, now.tag, said, chosen)
    if now.block is not None:
        start, end = now.block
        if not built.block and template[start - 1] == "\n":
            start -= 1
        edits.append(Edit(start, end, "\n" * (start == end and bool(built.block)) + built.block))
    return applied(template, edits)


def _sku_of(written: str) -> tuple[str, str]:
    """Return the source of the SKU and its name; ``kept`` where the builder can't write it otherwise."""
    if found := _SKU.fullmatch(written):
        return _SOURCES[found[1]], found[2]
    return ("kept", written) if "{" in written else ("fixed", unquote(written))


def _with_block(template: str, tag: CallTag, said: Choices) -> Read:
    known = replace(said, source="event", sku="item_sku", credential="any")
    for fallback, channel in product(FALLBACKS, (Channel.EMAIL, Channel.PUSH)):
        try:
            block = build(replace(known, fallback=fallback, channel=channel, fallback_text=_ANY_TEXT)).block
        except BadChoices:
            return Read(because="its tag asks for what the proxy refuses")
        if not block:
            return Read(said, tag=tag, block=(tag.end, tag.end))
        before, _, after = block.partition(_ANY_TEXT)
        pattern = re.escape(before) + (rf"([^{{}}\n]*?){re.escape(after)}" if after else "")
        if found := re.compile(pattern).search(template, tag.end):
            text = found[1] if after else ""
            choices = replace(said, fallback=fallback, fallback_text=html.unescape(text) if channel.is_html else text)
            return Read(choices, tag=tag, block=found.span())
    fallback = "abort" if "on_error" not in dict(tag.parameters()) else "hide"
    return Read(replace(said, fallback=fallback), tag=tag)


def _tag_edits(template: str, tag: CallTag, now: Choices, chosen: Choices) -> list[Edit]:
    """Return the edits of a tag, which touch only what was chosen otherwise."""
    if "kept" not in (now.source, chosen.source) and template[tag.start : tag.end] == build(now).tag:
        return [Edit(tag.start, tag.end, build(chosen).tag)]
    before, after = _written(now), _written(chosen)
    parameter = KINDS[now.kind].parameter
    pieces = {}
    for name, value in tag.parameters():
        if name == parameter:
            pieces[KINDS[chosen.kind].parameter] = value if before[0][name] == after[0].get(name) else ""
        elif before[0].get(name) == after[0].get(name):
            pieces[name] = value
    changes = {name: value for name, value in after[0].items() if before[0].get(name) != value}
    pieces |= {name: value for name, value in changes.items() if not pieces.get(name)}
    if chosen.source == "kept":
        pieces[KINDS[chosen.kind].parameter] = chosen.sku
    address = tag.url.partition("?")[0].removesuffix(KINDS[now.kind].path) + KINDS[chosen.kind].path
    url = f"{address}?" + "&".join(f"{name}={value}" for name, value in pieces.items())
    edits = [tag.in_url((0, len(tag.url)), url)]
    for name in sorted({*before[1], *after[1]}):
        old, new = before[1].get(name), after[1].get(name)
        if old != new:
            edits.append(tag.with_option(name, new) if new else tag.without_option(name))
    return edits


def _written(choices: Choices) -> tuple[dict[str, str], dict[str, str]]:
    if choices.source == "kept":
        kept = query(replace(choices, source="fixed", sku=""))
        return kept | {KINDS[choices.kind].parameter: quote(choices.sku)}, options(choices)
    return query(choices), options(choices)
