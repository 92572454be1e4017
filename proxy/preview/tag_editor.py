"""The builder inside a message: the choices that its one tag says, and the tag rewritten to others.

What stands around the tag is rewritten only where the builder wrote it; all other text is the author's.
"""

from __future__ import annotations

import html
import re
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any
from urllib.parse import quote, unquote

from proxy.preview.braze import Channel
from proxy.preview.builder import FALLBACKS, FILTERS, KINDS, BadChoices, Choices, build, options, query
from proxy.preview.call_tag import CallTag, call_tags
from proxy.preview.findings import Edit, applied

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
        """Return it as JSON."""
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
    source, value = _sku(sku)
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


def _sku(written: str) -> tuple[str, str]:
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
    edits = [Edit(tag.url_at, tag.url_at + len(tag.url), url)]
    added = ""
    for name in sorted({*before[1], *after[1]}):
        old, new = before[1].get(name), after[1].get(name)
        if old == new:
            continue
        if name not in tag.options:
            added += f" :{name} {new}" if new else ""
        elif new:
            start, end, _ = tag.options[name]
            edits.append(Edit(start, end, f":{name} {new}"))
        else:
            edits.append(tag.without_option(name))
    return [*edits, *([tag.with_option(added.strip())] if added else [])]


def _written(choices: Choices) -> tuple[dict[str, str], dict[str, str]]:
    if choices.source == "kept":
        kept = query(replace(choices, source="fixed", sku=""))
        return kept | {KINDS[choices.kind].parameter: quote(choices.sku)}, options(choices)
    return query(choices), options(choices)
