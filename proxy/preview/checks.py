"""What customers would see: a message that Braze would send, looked at for what is wrong with it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from difflib import get_close_matches
from functools import partial
from itertools import islice
from typing import Any

from proxy.preview.braze import ESCAPING_PATHS, Channel, Empty, Rendering
from proxy.preview.calls import OF_REVIEWS, Part, calls_in_loop, examine_calls, query_of, too_large
from proxy.preview.findings import (
    MOST_FINDINGS,
    TABLES,
    Edit,
    Finding,
    Markup,
    call_tags,
    closing,
    finding_of,
    markups,
    names_set,
    on_line,
    personal,
    without_unread,
)

_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d+|#x[0-9a-fA-F]+|[a-zA-Z]{2,8}\d?);")
_HTML_TAG = re.compile(
    r"</?(?:a|b|br|div|em|font|h[1-6]|hr|i|img|li|ol|p|span|strong|table|td|tr|u|ul)\b[^<>]*>", re.I
)
_LIQUID = re.compile(r"\{\{|\{%|%\}|\$\{")
_RAW = re.compile(r"\{%-?\s*(?:end)?raw\s*-?%\}")
_OBJECT = re.compile(r"""\{['"]\w+['"]\s*(?:=>|:)\s*|\[object Object\]""")
_DISCLOSED = re.compile(
    r"showing (?:only )?our|only .{0,24}star reviews|selected reviews|our latest reviews|chosen by their stars",
    re.IGNORECASE,
)
_BY_STARS = re.compile(r"\.stars\s*(?:>=?|==)\s*[2-5]|where:\s*['\"]stars['\"]\s*,\s*[1-5]")
_LOOP = re.compile(r"\{%-?\s*for\s+\w+\s+in\s+([\w.\[\]]+)\.reviews\b")
_INVITES = re.compile(
    r"\b(?:write|leave|share|post|add)\s+(?:us\s+)?(?:a|your)\s+review\b|\brate (?:us|your)\b|\breview "
    r"(?:us|your purchase)\b",
    re.IGNORECASE,
)
_EMPTY = re.compile(r"<(img|a)\b[^<>]*?\b(src|href)\s*=\s*(?:\"\s*\"|'\s*'|(?=[\s>]))", re.IGNORECASE)
_NOT_IN_MAIL = re.compile(r"<(script|iframe|object|embed|form|video|audio|canvas)\b[^<>]*>", re.IGNORECASE)
# What is never closed reaches to the end, as in a browser, and nothing is looked through again and again.
UNREAD = r"<({})\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)"
_UNREAD = re.compile(UNREAD.format("style|script"), re.IGNORECASE | re.DOTALL)
_PLAINER = {character: plain for plain, characters in TABLES["plainer"].items() for character in characters}


def examine(part: Part) -> list[Finding]:
    """Return what is wrong with a part of a message that Braze would send."""
    checks = (
        *(examine_calls, too_large, _disclosure, _leftovers, _whole_objects, _invitation, _pictured_stars),
        *((links,) if part.is_html else (_html_in_text, _costly_characters)),
        *(_chosen_in_liquid, calls_in_loop, _markdown),
    )
    return [finding for check in checks for finding in islice(check(part), MOST_FINDINGS)]


def blank(template: str) -> Finding:
    """Tell of a message that has words for some people only."""
    otherwise = "{% else %}{% abort_message('nothing to say') %}"
    last = next(reversed(list(markups(template))), None)
    closes = (
        last and last.name in ("endif", "endunless", "endcase") and "{% else" not in template[: last.start][-400:]
    )
    edits = [Edit(last.start, last.start, otherwise)] if last and closes else []
    return finding_of(template, "blank", *edits, at=None if edits else 0, otherwise=otherwise)


# ---- Which reviews are shown


def _disclosure(part: Part) -> Iterator[Finding]:
    if (
        "disclosure" in part.template
        or _DISCLOSED.search(part.output)
        or not re.search(r"\.content\b", part.template)
    ):
        return
    for tag in part.tags:
        is_drop_in = "/product-reviews/" in tag.path
        for url in part.rendered(tag)[:1] if tag.path in OF_REVIEWS or is_drop_in else ():
            given = query_of(url)
            stars = sorted({star for value in given.get("stars", []) for star in value.split(",") if star})
            if 0 < len(stars) < 5:
                which = f"only the reviews with {' and '.join(reversed(stars))} stars"
            elif given.get("sort") == ["highest"]:
                which = "the best reviews first"
            else:
                continue
            edit, written = _disclosing(part, f"Showing our {' & '.join(stars)} star reviews" if is_drop_in else "")
            yield part.finding("no-disclosure", edit, at=tag.start, which=which, written=written)


def _chosen_in_liquid(part: Part) -> Iterator[Finding]:
    """Tell of reviews that the template itself chooses by their stars."""
    chosen = _BY_STARS.search(without_unread(part.template))
    if not chosen or not re.search(r"\.content\b", part.template):
        return
    if _DISCLOSED.search(part.output) or re.search(r"summary\.stars", part.template[: chosen.end()][-40:]):
        return
    edit, written = _disclosing(part, "Only some of our reviews are shown, chosen by their stars.")
    yield part.finding("no-disclosure/liquid", edit, at=chosen.start(), written=written)


def _disclosing(part: Part, text: str) -> tuple[Edit, str]:
    """Return the edit that prints which reviews are shown, after the last of them, and what it prints."""
    loop = _loop_over_reviews(part)
    name = _LOOP.search(part.template) or re.search(r"([\w]+(?:\[\d+\]|\.\w+)*)\.reviews\b", part.template)
    written = text or f"{{{{ {name[1] if name else 'product'}.disclosure }}}}"
    content = re.search(r"\.content\b.*", part.template)
    at = loop[1] if loop else content.end() if content else len(part.template)
    if part.is_html:
        return Edit(at, at, f'\n<p style="font-size:12px;color:#52606d">{written}</p>'), written
    return Edit(at, at, f" ({written})"), written


def _loop_over_reviews(part: Part) -> tuple[int, int] | None:
    """Return where the first loop over reviews begins and ends."""
    loop = _LOOP.search(part.template)
    opened = next((markup for markup in markups(part.template) if loop and markup.start == loop.start()), None)
    end = closing(part.template, opened) if opened else None
    return (opened.start, end.end) if opened and end else None


def _invitation(part: Part) -> Iterator[Finding]:
    asks = _INVITES.search(part.output)
    printed = re.search(r"\{\{[^{}]*\.content\b[^{}]*\}\}", part.template)
    if asks and printed and any(call.succeeded for call in part.calls):
        span = _loop_over_reviews(part) or printed.span()
        yield part.finding("invites", Edit(*span, ""), asks=asks.group())


def _pictured_stars(part: Part) -> Iterator[Finding]:
    tag = next((tag for tag in part.tags if tag.path in ESCAPING_PATHS), None)
    if tag is None:
        return
    summary = "" if tag.path in ("/v1/summary", "/v1/business") else ".summary"
    written = f"{{{{ {tag.variable}{summary}.stars_icons }}}}"
    for match in re.finditer(r"(?:★|⭐️?|&#9733;|&starf;){5}", part.literal()):
        yield part.finding("stars", Edit(*match.span(), written), written=written)


# ---- What is not meant to be read


def _leftovers(part: Part) -> Iterator[Finding]:
    seen = part.output
    if part.is_html:
        seen = _UNREAD.sub("", seen)
    if match := _LIQUID.search(seen):
        around = seen[max(match.start() - 10, 0) : match.end() + 20].strip()
        edits = [Edit(*raw.span(), "") for raw in _RAW.finditer(part.template)]
        yield part.finding("liquid-shown", *edits, at=part.template.find(match.group()), around=around)
    for match in re.finditer(
        r"\b(?:lorem ipsum|TODO|TBD|XXXX*|TEST(?: TEST)+|please ignore|do not send)\b"
        r"|\[(?:link(?!\]\()|name|product|text|insert [^\]]*)\]",
        part.literal(),
        re.IGNORECASE,
    ):
        if not match.group().islower() or match.group().startswith(("lorem", "[", "please", "do not")):
            yield part.finding("placeholder", Edit(*match.span(), ""), note=match.group())


def _markdown(part: Part) -> Iterator[Finding]:
    """Tell of Markdown, which no channel reads."""
    pattern = r"\*\*(?P<bold>[^*\n]+)\*\*|\[(?P<text>[^\]\n]+)\]\((?P<link>https?://[^)\s]+)\)"
    written = list(re.finditer(pattern, part.literal()))
    bold, link = ("<b>{bold}</b>", '<a href="{link}">{text}</a>') if part.is_html else ("{bold}", "{text}: {link}")
    edits = [Edit(*m.span(), (bold if m["bold"] else link).format(**m.groupdict())) for m in written]
    if edits:
        yield part.finding("html-shown/markdown", *edits, shown=written[0].group(), plain=edits[0].text)


_ANSWERS = {"/v1/summary": ".average_text", "/v1/products": ".products[0].sku"}


def _whole_objects(part: Part) -> Iterator[Finding]:
    tags = [tag for tag in part.tags if tag.path.startswith("/v1/") and not tag.path.endswith("/fragment")]
    paths = {tag.variable: tag.path for tag in tags}
    loops = dict(re.findall(r"\bfor\s+(\w+)\s+in\s+([\w.\[\]]+)", part.template))
    for markup in markups(part.template) if paths and _OBJECT.search(part.output) else ():
        value = markup.value
        if not markup.is_output or not re.fullmatch(r"\w+(?:\[\d+\]|\.\w+)*", value):
            continue
        field = ""
        if value in paths:
            field = _ANSWERS.get(paths[value], ".reviews[0].content")
        elif value in loops and loops[value].split(".")[0] in {*paths, *loops}:
            field = ".content" if loops[value].endswith("reviews") else ".sku"
        elif re.split(r"[.\[]", value)[0] in {*paths, *loops}:
            field = next((field for pattern, field in TABLES["fields"] if re.search(rf"{pattern}$", value)), "")
        if field:
            yield part.finding("whole-object", markup.adding(field), at=markup.start, value=value, field=field)


# ---- E-mail

_TARGET = re.compile(r"<(img|a)\b[^<>]*?\b(?:src|href)\s*=\s*([\"'])\s*([^\"'<>]+?)\s*\2", re.IGNORECASE)
_FILE_NAME = re.compile(r"\.(?:png|jpe?g|gif|webp|html?|svg)$", re.IGNORECASE)
_HOST = re.compile(r"(?:www\.)?[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?=[/?#:]|$)", re.IGNORECASE)


def _not_in_mail(literal: str) -> Iterator[tuple[int, int, str]]:
    """Return from where to where elements stand that no mail shows, each with its name."""
    end, unclosed = 0, set[str]()
    for opened in _NOT_IN_MAIL.finditer(literal):
        if opened.start() < end:
            continue
        end, name = opened.end(), opened[1].lower()
        closed = None if name in unclosed else re.compile(rf"</{name}\s*>", re.IGNORECASE).search(literal, end)
        if closed is None:
            # Nor is any later one: the rest is not looked through again for each.
            unclosed.add(name)
        else:
            end = closed.end()
        yield opened.start(), end, name


def links(part: Part) -> Iterator[Finding]:
    """Return the links and pictures of an e-mail that lead nowhere."""
    literal = part.literal()
    for match in re.finditer(r"\b(src|href|background|action)\s*=\s*[\"']?(http):", literal, re.IGNORECASE):
        is_picture = match[1].lower() in ("src", "background")
        what = "picture, which mail clients then leave out" if is_picture else "link, which browsers warn of"
        yield part.finding("http/page", Edit(*match.span(2), "https"), at=match.start(), name=match[1], what=what)
    for start, end, name in _not_in_mail(literal):
        yield part.finding("not-in-mail", Edit(start, end, ""), name=name)
    yield from _addresses(part, literal)
    empty = _EMPTY.finditer(part.output)
    for tag, name in dict.fromkeys((match[1].lower(), match[2].lower()) for match in empty):
        yield from _empty(part, tag, name)
    nowhere = r"<a\b[^<>]*?\bhref\s*=\s*([\"'])(#|https?://|javascript:[^\"']*)\1"
    for match in re.finditer(nowhere, literal, re.IGNORECASE):
        edits = _unlinked(part.template, match.start())
        yield part.finding("empty-link/nowhere", *edits, at=match.start(), href=match[2])


def _addresses(part: Part, literal: str) -> Iterator[Finding]:
    """Tell of pictures and links whose address no mail program can follow."""
    for match in _TARGET.finditer(part.output):
        address, right = match[3], ""
        what = "picture" if match[1].lower() == "img" else "link"
        if re.match(r"[A-Za-z]:\\|file:|\\\\", address):
            which = "own-computer"
        elif slashes := re.match(r"(https?):(?!//)[/\\]*(?=\w)", address):
            which, right = "slash", f"{slashes[1]}://{address[slashes.end() :]}"
        elif re.match(r"https?://\S*\s", address):
            which, right = "space", re.sub(r"\s+", "%20", address)
        elif re.match(r"[a-z][a-z0-9+.-]*:(?!\d)|[#\[]|//", address, re.IGNORECASE):
            continue
        elif (host := _HOST.match(address)) and not _FILE_NAME.search(host[0]):
            which, right = "https", f"https://{address}"
        else:
            which = "host"
        at = literal.find(address)
        edits = [Edit(at, at + len(address), right)] if right and at >= 0 else []
        yield part.finding(f"bad-address/{which}", *edits, at=at, what=what, address=address[:60], plain=right)


def _empty(part: Part, tag: str, name: str) -> Iterator[Finding]:
    template, what = part.template, "A link has no address (an empty href), and goes nowhere"
    if tag == "img":
        what = "A picture has no address (an empty src), and shows as a broken one"
    if written := re.search(rf"<{tag}\b[^<>]*?\b{name}\s*=\s*(?:\"\s*\"|'\s*')", template, re.IGNORECASE):
        start, end = written.start(), (template.find(">", written.end()) + 1) or written.end()
        edits = (Edit(start, end, ""),) if tag == "img" else _unlinked(template, start)
        yield part.finding("empty-link", *edits, at=start, what=what)
        return
    pattern = rf"<{tag}\b[^<>]*?\b{name}\s*=\s*([\"']?)\s*\{{\{{(.*?)\}}\}}(\}}?)\s*\1"
    for match in re.finditer(pattern, template, re.IGNORECASE | re.DOTALL):
        value = (match[2] + match[3]).split("|")[0].strip(" -")
        close = "</a>" if tag == "a" else ">"
        end = template.find(close, match.end()) + len(close)
        if end < match.end():
            continue
        asked = f"{{{{{value}}}}}" if "${" in value else value
        shown_if = f"{{% if {asked} != blank %}}"
        edits = Edit(match.start(), match.start(), shown_if), Edit(end, end, "{% endif %}")
        yield part.finding("empty-link/value", *edits, what=what, value=value, shown_if=shown_if)


def _unlinked(template: str, start: int) -> tuple[Edit, ...]:
    """Return the edits that leave a link's text and take the link off."""
    opened = re.compile(r"<a\b(?:\{\{.*?\}\}|[^<>])*>", re.IGNORECASE | re.DOTALL).match(template, start)
    closed = re.compile(r"</a\s*>", re.IGNORECASE).search(template, start)
    return (Edit(*opened.span(), ""), Edit(*closed.span(), "")) if opened and closed else ()


# ---- Push, SMS and in-app messages, and subjects


def _html_in_text(part: Part) -> Iterator[Finding]:
    if not _ENTITY.search(part.output):
        yield from _html_answers(part)
    literal = part.literal()
    where = "This is plain text" if part.channel is Channel.EMAIL else f"A {part.channel.value} message is plain text"
    for pattern, what in ((_ENTITY, "entity"), (_HTML_TAG, "tag")):
        shown = pattern.search(part.output)
        if shown is None:
            continue
        finding = partial(part.finding, said=f"{where}, and customers would read", shown=shown.group())
        if written := list(pattern.finditer(literal)):
            edits = [Edit(*match.span(), _as_text(match.group())) for match in written]
            yield finding("html-shown", *edits, shown=written[0].group())
            continue
        if fragments := [t for t in part.tags if t.path == "/v1/fragment" and t.value("channel") != "text"]:
            edits = [tag.with_parameter("channel", "text") for tag in fragments]
            yield finding("html-shown/fragment", *edits, at=fragments[0].start)
            return
        tags = [tag for tag in part.tags if tag.path in ESCAPING_PATHS and tag.value("format") != "text"]
        escapes = list(re.finditer(r"\s*\|\s*(?:escape|escape_once|h)\b(?=\s*(?:\||-?\}\}))", part.template))
        if escapes and what == "entity":
            yield finding("html-shown/escape", *(Edit(*match.span(), "") for match in escapes))
        if tags and what == "entity":
            edits = [tag.with_parameter("format", "text") for tag in tags]
            yield finding("html-shown/entity", *edits, at=tags[0].start)
        elif not escapes:
            # HTML that came with a value, not with the template.
            outputs = [m for m in markups(part.template) if m.is_output and "strip_html" not in m.inner]
            edits = [output.adding(" | strip_html") for output in outputs]
            yield finding("html-shown/value", *edits, at=outputs[0].start if outputs else 0)


def _html_answers(part: Part) -> Iterator[Finding]:
    """Tell of texts that come spelt for HTML, whatever characters this product's reviews have."""
    is_printed = re.search(r"\{\{[^{}]*\.(?:content|author|reply)\b", part.template)
    for tag in part.tags if is_printed else ():
        is_read = re.search(rf"\b{re.escape(tag.variable)}\b|\bfor\b", part.template)
        if is_read and tag.path in OF_REVIEWS and tag.value("format") != "text":
            yield part.finding("html-shown/answer", tag.with_parameter("format", "text"), at=tag.start)


def _as_text(markup: str) -> str:
    if markup.startswith("&"):
        return html.unescape(markup).replace("\u00a0", " ")
    return "\n" if re.match(r"<br|</p|</div|</li|</h", markup, re.IGNORECASE) else ""


def _costly_characters(part: Part) -> Iterator[Finding]:
    written = list(re.finditer(f"[{''.join(_PLAINER)}]", part.literal())) if part.channel is Channel.SMS else []
    if written:
        shown = " ".join(dict.fromkeys(match.group() for match in written))
        edits = [Edit(*match.span(), _PLAINER[match.group()]) for match in written]
        yield part.finding("costly-characters", *edits, shown=shown)


# ---- What came up empty

_ATTRIBUTES = TABLES["attributes"].split()
_PLACE = re.compile(r"^(?!.*is null).*(?:nothing is called|has no \w|is no list|is an object|is a list|is text or a)")


def examine_empties(template: str, rendering: Rendering) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Part what came up empty into mistakes and, as JSON, what the message provides for.

    After a call that failed its variable is empty, and all that reads it: the failure is told, not its consequences.
    """
    findings: list[Finding] = []
    rest = []
    own = names_set(template)
    has_failed_calls = any(not call.succeeded for call in rendering.calls)
    saved = {tag.variable for tag in call_tags(template)} if has_failed_calls else set()
    for empty in rendering.empties:
        is_known = _root(empty) in saved or "the preview doesn't know" in empty.message
        finding = None if is_known else _finding(empty, template, own, findings)
        if finding:
            findings.append(finding)
        else:
            rest.append(asdict(empty))
    lines = {finding.line for finding in findings}
    findings += (finding for finding in _defaulted(template, own) if finding.line not in lines)
    return findings, rest


def _finding(empty: Empty, template: str, own: frozenset[str], before: list[Finding]) -> Finding | None:
    """Return what is wrong about a place that met nothing; None where the message provides for it."""
    because = empty.message.partition("; did you mean ")[0].rstrip(".")
    is_nobodys = empty.message.startswith("nothing is called")
    is_unknown = is_nobodys and _root(empty) not in own and not _asks_for_nothing(empty, template)
    if empty.expected and not is_unknown:
        return None
    if nearest := empty.nearest or _attribute(empty.expression, own, template):
        edits = _renamed(empty, nearest, template)
        return finding_of(
            template, "came-up-empty/nearest", *edits, line=empty.line, because=because, nearest=nearest
        )
    if empty.kind == "output":
        return _hole(empty, because, template, own, before)
    if is_unknown or (not is_nobodys and _PLACE.search(empty.message)):
        return _nowhere(empty, because, template)
    return None


def _root(empty: Empty) -> str:
    return re.split(r"[.\[$]", empty.expression)[0]


def _defaulted(template: str, own: frozenset[str]) -> Iterator[Finding]:
    """Tell of a plain name that is nobody's, where a default hides that it is always empty."""
    for markup in markups(template):
        before, bar, _ = markup.inner.partition("|")
        name = before.strip(" -")
        nearest = _attribute(name, own, template) if markup.is_output and bar else None
        if nearest and re.search(r"\|\s*default\b", markup.inner):
            at = markup.inner.index(name)
            edit = markup.edit((at, at + len(name)), nearest)
            yield finding_of(template, "came-up-empty/default", edit, at=markup.start, found=before.strip())


def _hole(empty: Empty, because: str, template: str, own: frozenset[str], before: list[Finding]) -> Finding | None:
    """Tell of an output that prints nothing and has no default."""
    markup = _markup(empty, template)
    if markup is None or not markup.is_output or re.search(r"\|\s*default\b", markup.code):
        return None
    if braced := re.fullmatch(r"(?:\w+\.)?\$\{([^{}]+)\}", empty.expression):
        default = f"default: '{'there' if 'name' in braced[1] else '…'}'"
        at = markup.inner.index("}", markup.inner.index("${")) + 1
        edit = markup.edit((at, at), f" | {default}")
        return finding_of(template, "came-up-empty/no-default", edit, line=empty.line, because=because, plain=default)
    if late := _set_later(empty, markup, template, before):
        return late
    name = empty.expression
    if re.fullmatch(r"\w+", name) and empty.message.startswith("nothing is called") and name not in own:
        at = markup.inner.index(name)
        edit = markup.edit((at, at + len(name)), f"event_properties.${{{name}}}")
        return finding_of(template, "came-up-empty/no-braces", edit, line=empty.line, found=name)
    shown_if = f"{{% if {f'{{{{{name}}}}}' if '${' in name else name} != blank %}}"
    written = f"{shown_if}{template[markup.start : markup.end]}{{% endif %}}"
    edits = Edit(markup.start, markup.start, shown_if), Edit(markup.end, markup.end, "{% endif %}")
    return finding_of(template, "came-up-empty/always-shown", *edits, line=empty.line, because=because, plain=written)


def _set_later(empty: Empty, markup: Markup, template: str, before: list[Finding]) -> Finding | None:
    """Tell of an answer that is read before the call that brings it."""
    root = _root(empty)
    tag = next((tag for tag in call_tags(template) if tag.variable == root), None)
    if tag is None or tag.start < markup.start:
        return None
    start = next((m.start for m in markups(template) if re.search(rf"\b{root}\b", m.inner)), markup.start)
    edits = Edit(start, start, template[tag.start : tag.end]), Edit(tag.start, tag.end, "")
    finding = finding_of(template, "came-up-empty/set-later", *edits, line=empty.line, variable=root)
    is_moved_already = any(one.message == finding.message for one in before)
    return replace(finding, edits=()) if is_moved_already else finding


def _nowhere(empty: Empty, because: str, template: str) -> Finding:
    """Tell of a condition or a loop that reads what can't be there."""
    markup = _markup(empty, template)
    comes = "always" if markup and markup.name == "unless" else "never"
    so = "nothing of this loop is shown" if empty.kind == "loop" else f"this {empty.kind} {comes} comes true"
    saved = " and ".join(tag.variable for tag in call_tags(template))
    hint = f"The answers are in {saved}." if saved else "Name what the template or Braze sets."
    return finding_of(template, "came-up-empty/nowhere", line=empty.line, because=because, so=so, hint=hint)


def _asks_for_nothing(empty: Empty, template: str) -> bool:
    """Tell whether a condition compares with nothing, and so provides for a name that is nobody's."""
    markup = _markup(empty, template)
    compared = rf"(?<![\w.$]){re.escape(empty.expression)}\s*(?:==|!=|<>)\s*(?:nil|null|blank|empty)\b"
    return empty.expected and markup is not None and bool(re.search(compared, markup.inner))


def _attribute(expression: str, own: frozenset[str], template: str) -> str | None:
    """Return how Braze writes what a plain word was meant to be."""
    if braced := re.fullmatch(r"\$\{(\w+)\}", expression):
        name = personal(braced[1])
        if name == braced[1]:
            name = next(iter(get_close_matches(name, _ATTRIBUTES, 1, 0.85)), name)
        return f"${{{name}}}" if name != braced[1] and braced[1] not in _ATTRIBUTES else None
    if not re.fullmatch(r"\w+", expression) or expression in own:
        return None
    for match in re.finditer(r"(?:\w+\.)?\$\{([^{}]+)\}", template):
        if match[1].strip() == expression:
            return match.group()
    name = personal(expression)
    return f"${{{name}}}" if name in _ATTRIBUTES else None


def _renamed(empty: Empty, nearest: str, template: str) -> tuple[Edit, ...]:
    markup = _markup(empty, template)
    start = markup.inner.find(empty.expression) if markup else -1
    if markup is None or start < 0:
        return ()
    at = markup.at + start
    braced = "${" in nearest and template[at - 2 : at] != "{{" and not markup.is_output
    return (Edit(at, at + len(empty.expression), f"{{{{{nearest}}}}}" if braced else nearest),)


def _markup(empty: Empty, template: str) -> Markup | None:
    """Return the tag or output that an expression stands in."""
    root, dot, rest = empty.expression.partition(".")
    # A namespace that Braze has not is read with braces too.
    braced = rf"|{re.escape(root)}\.\$\{{\s*{re.escape(rest)}\s*\}}" if dot and "$" not in empty.expression else ""
    pattern = re.compile(rf"(?<![\w.$])(?:{re.escape(empty.expression)}{braced})(?![\w\[])")
    of_kind = {"output": ("",), "loop": ("for", "tablerow"), "condition": ("if", "unless", "elsif", "case", "when")}
    there = [markup for markup in on_line(template, empty.line) if pattern.search(markup.inner)]
    return next((one for one in there if one.name in of_kind[empty.kind]), there[0] if there else None)
