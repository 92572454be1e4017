"""What pasting and guessing do to Liquid: all of it found at once, each with the edit that puts it right.

Works on text alone, so that one mistake does not hide the next. Rounds follow each other: characters, braces, the
names of tags, what stands in them, and the options of calls; each sees what the ones before have mended.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from urllib.parse import unquote

from proxy.preview.braze import FILTERS, TemplateError, is_boundless
from proxy.preview.call_doctor import examine_calls
from proxy.preview.findings import (
    MEANT,
    RULES,
    TABLES,
    Draft,
    Edit,
    Finding,
    Markup,
    Rule,
    blanked,
    examined,
    markups,
    on_line,
    personal,
    short,
    without_unread,
)
from proxy.preview.liquid_doctor import examine_liquid, numbers_first

BLOCKS = ("if", "unless", "case", "for", "tablerow", "capture", "comment", "raw", "ifchanged", "translation")
_TAGS = (
    *BLOCKS,
    *(f"end{name}" for name in BLOCKS),
    *("else", "elsif", "when", "assign", "increment", "decrement", "cycle", "break", "continue", "echo", "liquid"),
    *("abort_message", "doc", "enddoc", "render", "rerender", "connected_content", "catalog_items"),
    *("catalog_selection_items", "promotion", "message_extras", "shopping_cart"),
)


def examine(template: str) -> Draft:
    """Return what is wrong with ``template`` as it is written, and its text put right.

    Raises nothing, whatever the text; of one that would take long to look at it says nothing.
    """
    draft = Draft(template)
    if is_boundless(template):
        return draft
    for look in (_characters, _braces, _names, _blocks, examine_liquid, examine_calls):
        first = len(draft.findings)
        look(draft)
        draft.end_round(first)
    return draft


_JARGON = re.compile(
    r"\b(?:unexpected|expected|found|token|dpipe|primitive|syntax|expression|undefined|parse|int|NoneType|lookup)\b"
    r"|'\w+' object",
    re.IGNORECASE,
)


def plain(error: TemplateError, template: str) -> str:
    """Return what an error says without the words of the Liquid library."""
    message = error.message
    if tag := re.search(r"(?:unexpected|unknown) tag '?(\w+)'?", message):
        return f"Braze has no tag {tag[1]}, or it stands where it does not belong"
    if name := re.search(r"(?:unknown|no) filter:? '?(\w+)'?", message):
        return f"Braze has no filter {name[1]}"
    if not _JARGON.search(re.sub(r"^(?:abort_message|connected_content|:\w+|expected an option).*", "", message)):
        return message
    written = _at_fault(error, template)
    if written is None:
        return "Braze can't read this line: look at its braces, quotes and names"
    return (
        f"Braze can't read {short(template[written.start : written.end])}: look at its quotes, "
        "its pipes and its names"
    )


def unreadable(error: TemplateError, template: str) -> Finding:
    """Return the finding for an error that no round has found."""
    said = plain(error, template)
    written = _at_fault(error, template)
    if written is not None and "compare text with a number" in said:
        fix, edits = numbers_first(template, written)
        return Finding("template", error.line, said, fix, edits)
    if written is None or written.name.removeprefix("end") in BLOCKS:
        return Finding("template", error.line, said)
    return Finding("template", error.line, said, "Take it out", (Edit(written.start, written.end, ""),))


def _at_fault(error: TemplateError, template: str) -> Markup | None:
    found = on_line(template, error.line)
    at = error.index
    return next((m for m in found if at is not None and m.start <= at < m.end), found[0] if found else None)


# ---- Characters that pasting changes

_DOUBLE, _SINGLE = "“”„‟«»″", "‘’‚‛′`´"
_STRAIGHT = {**dict.fromkeys(_DOUBLE, '"'), **dict.fromkeys(_SINGLE, "'")}
_RARE_SPACE = "[\u00a0\u2000-\u200a\u202f\u205f\u3000]"


def _ascii(match: re.Match[str]) -> str:
    text = match.group()
    return "|" if text in "│¦∣ǀ" else "-" if text in "‐‑‒–—―−" else unicodedata.normalize("NFKC", text)


def _entity(match: re.Match[str]) -> str:
    plain = html.unescape(match.group())
    return _STRAIGHT.get(plain, " " if re.match(_RARE_SPACE, plain) else plain)


# What looks like a brace of Liquid, or the dash of one, and is none.
_STRANGE = re.compile(r"(?<=\{[{%])[‐-―−]|[‐-―−](?=[%}]\})|[｛｝]")
_ESCAPED = Rule(
    r"%7[Bb]%(?:7[Bb]|25).*?%(?:7[Dd]|25)%7[Dd]",
    lambda match: unquote(match.group()),
    "{found_short} is Liquid in an address's spelling, and Braze does not read it: write {plain}",
    "Write the braces",
)
_QUOTES = Rule(
    f"[{_DOUBLE}{_SINGLE}]",
    lambda match: _STRAIGHT[match.group()],
    "{where} has typographic quotes ({found}), which Braze does not read as quotes: write straight ones ({plain}).",
    "Write straight quotes",
)
_ENTITIES = Rule(
    r"(?i:&(?:amp|lt|gt|quot|apos|nbsp|[lr][sd]quo|#x?[0-9a-f]+);)",
    _entity,
    "{where} has {found}, as HTML spells it; Braze reads Liquid before HTML: write {plain}.",
    "Write the characters themselves",
)
# Full-width forms, bars of other scripts, longer dashes.
_ALIKE = Rule(
    "[！-～│¦∣ǀ‐-―−]",
    _ascii,
    "{where} has {found}, which only looks like {plain}: write {plain}.",
    "Write plain characters",
)
_DAMAGE: Mapping[str, Sequence[Rule]] = {
    "curly-quotes": [_QUOTES],
    "html-in-liquid": [_ENTITIES, *RULES["formatting"]],
    "invisible-character": [_ALIKE, *RULES["unseen"]],
}


def _characters(draft: Draft) -> None:
    text = draft.text
    draft.apply("paste", [_ESCAPED], code=text, each=True)
    draft.apply("html-in-liquid", RULES["pasted"], code=text, each=True)
    draft.apply("foreign-comment", RULES["comments"], code=text, each=True)
    if strange := list(_STRANGE.finditer(without_unread(text))):
        edits = [Edit(*match.span(), _ascii(match)) for match in strange]
        shown = " ".join(dict.fromkeys(match.group() for match in strange))
        plain = " ".join(dict.fromkeys(edit.text for edit in edits))
        draft.note("invisible-character", *edits, found=shown, plain=plain)
    for markup in examined(text):
        whole = Markup("", markup.start, markup.end, text[markup.start : markup.end], markup.start)
        # The text of a call holds quotes of other kinds too, and nothing in it is a text to be printed.
        code = whole.inner if markup.name == "connected_content" else whole.code
        for kind, rules in _DAMAGE.items():
            draft.apply(kind, rules, whole, code)


# ---- Braces

_ARGUMENT = r"(?:'[^'\n]*'|\"[^\"\n]*\"|\{\{(?:\$\{[^{}]*\}|[^{}])*\}\}|-?[\d.]+)"
_FILTER_OUTSIDE = re.compile(rf"\s*\|\s*(\w+)(\s*:\s*{_ARGUMENT}(?:\s*,\s*{_ARGUMENT})*)?")
_PLAIN_FILTERS = (
    *("upcase", "downcase", "capitalize", "strip", "strip_html", "escape", "url_encode", "url_param_escape"),
)
_BRACE = re.compile(r"\$\{[^{}]*\}|\{\{|\}\}|\{%|%\}")
_TAG_CLOSED_WRONGLY = re.compile(r"-?(?:\}\s*%|%\s+\}|%\)|%>|%%\}|\}\}?|%(?=[\s<\w]|$))")
_OUTPUT_CLOSED_WRONGLY = re.compile(r"-?(?:%\}|\)\)|\}\s+\}|\}|\]\])")
_VALUE = r"(?:'[^']*'|\"[^\"]*\"|\$\{[^{}]*\}|[\w.\[\]-]+(?:\.\$\{[^{}]*\})?)"
_COMPARED = rf"{_VALUE}(?:\s*(?:[=!<>]=?|contains)\s*{_VALUE})?"
# What is whole already, so that the words after it are the message's and not the markup's.
_COMPLETE = re.compile(
    rf"\{{\{{-?\s*{_VALUE}(?!\s*\||\w)|\{{%-?\s*(?:else|end\w+)\b"
    rf"|\{{%-?\s*(?:if|unless|elsif)\s+{_COMPARED}(?:\s+(?:and|or)\s+{_COMPARED})*(?!\s*\|)"
)
_NOT_TEXT = re.compile(r"<(style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG_WORDS = r"(?:if|elsif|unless|for|assign|capture|case|when|connected_content|abort_message)\b(?!\s*[.|\[])"
_TAG_IN_OUTPUT = re.compile(rf"\s*({_TAG_WORDS}.+|else|end(?:if|for|unless|case|capture))\s*", re.DOTALL)
_ELSEWHERES = [
    Rule(
        pattern,
        lambda match: f"{{{{${{{personal(re.sub('[^0-9A-Za-z_]+', '_', match[1].strip()).lower())}}}}}}}",
        f"{{found}} is how {tool} fills in a value; customers would read it as it stands: write {{plain}}.",
    )
    for pattern, tool in TABLES["tools"]
]


def _braces(draft: Draft) -> None:
    text = without_unread(draft.text)
    done: list[tuple[int, int]] = []

    def look(rules: Iterable[Rule], text: str, kind: str = "braces") -> None:
        for rule in rules:
            done.extend(draft.apply(kind, (rule,), code=blanked(text, done), each=True))

    look(RULES["misplaced"], text)
    _unclosed(draft, text, done)
    outside = blanked(text, [(markup.start, markup.end) for markup in markups(text)])
    outside = blanked(outside, [*done, *(match.span() for match in _NOT_TEXT.finditer(text))])
    _filters_outside(draft, text, done)
    for markup in markups(text):
        if markup.name and text.startswith("}", markup.end):
            edit = Edit(markup.end, markup.end + 1, "")
            draft.note("braces/too-many", edit, found=short(text[markup.start : markup.end]))
    look(RULES["outside"], outside)
    look(_ELSEWHERES, outside, "foreign-placeholder")


def _filters_outside(draft: Draft, text: str, done: list[tuple[int, int]]) -> None:
    """Tell of a filter that stands behind the output it belongs to (Braze: Use Liquid, "Assigning variables")."""
    for markup in markups(text):
        match = _FILTER_OUTSIDE.match(text, markup.end) if markup.is_output else None
        if not match or match[1] not in FILTERS or not (match[2] or match[1] in _PLAIN_FILTERS):
            continue
        piped = match.group().strip()
        edits = [markup.adding(f" {piped}"), Edit(markup.end, match.end(), "")]
        if other := re.search(r"\{\{\s*([^{}]*\$\{[^{}]*\})\s*\}\}", piped):
            before = Edit(markup.start, markup.start, f"{{% assign other = {other[1]} %}}")
            edits = [before, markup.adding(f" {piped.replace(other.group(), 'other')}"), edits[1]]
        draft.note("braces/filter-outside", *edits, at=markup.start, found=piped)
        done.append((markup.end, match.end()))


def _unclosed(draft: Draft, text: str, done: list[tuple[int, int]]) -> None:
    taken = list(done)
    at = 0
    while (match := re.compile(r"\{\{|\{%").search(text, at)) is not None:
        start = match.start()
        at = match.end()
        if any(begin <= start < end for begin, end in taken):
            continue
        is_tag = match.group() == "{%"
        if end := _end(text, start, is_tag=is_tag):
            at = end
            continue
        wanted, wrong = ("%}", _TAG_CLOSED_WRONGLY) if is_tag else ("}}", _OUTPUT_CLOSED_WRONGLY)
        limit = _limit(text, start, is_tag=is_tag)
        # The braces of ${name}, and of outputs within a tag, close nothing else.
        searched = re.sub(
            r"\$\{[^{}\n]*\}|\{\{.*?\}\}|'[^'\n]*'|\"[^\"\n]*\"|%[0-9A-F]{2}",
            lambda m: " " * len(m.group()),
            text[start + 2 : limit],
        )
        closed = wrong.search(searched)
        if closed:
            begin, end = start + 2 + closed.start(), start + 2 + closed.end()
            written = f"{text[start:begin]}{' ' if text[begin - 1].isalnum() else ''}{wanted}"
            which, by = "braces/closed-wrongly", closed.group().strip()
        else:
            whole = text[start : start + 2 + len(text[start + 2 : limit].rstrip())]
            complete = _COMPLETE.match(whole)
            end = start + len(complete.group().rstrip() if complete else whole)
            close = "" if text[start:end].endswith("}") and not is_tag else " "
            written = f"{text[start:end]}{close}{wanted}"
            which, by = "braces/open", ""
        done.append((start, end))
        edit, found = Edit(start, end, written), short(text[start:end])
        draft.note(which, edit, found=found, wanted=wanted, by=by, plain=short(written))
        at = end


def _end(text: str, start: int, *, is_tag: bool) -> int | None:
    """Return where what is opened at ``start`` ends; None where something else is opened first."""
    if is_tag:
        tag = re.compile(r"(?:(?!\{%|%\}).)*%\}", re.DOTALL).match(text, start + 1)
        return tag.end() if tag else None
    depth = 0
    for brace in _BRACE.finditer(text, start):
        if brace.group() in ("{%", "%}"):
            return None
        depth += (brace.group() == "{{") - (brace.group() == "}}")
        if depth == 0:
            return brace.end()
    return None


def _limit(text: str, start: int, *, is_tag: bool) -> int:
    """Return where an opened markup has to be over: at the next one, at an HTML tag, or at the end of its line."""
    is_call = is_tag and text[start + 2 :].lstrip("- ").startswith("connected_content")
    stops = r"\{%|<[a-z/!]" if is_call else r"\{%|\n|</?[a-z!]" if is_tag else r"\{\{|\{%(?!\})|\n|</?[a-z!]"
    found = re.compile(stops, re.IGNORECASE).search(text, start + 2)
    return found.start() if found else len(text)


# ---- The names of tags


def _names(draft: Draft) -> None:
    text = draft.text
    readable = without_unread(text)
    if "{{#" in text.replace(" ", ""):
        draft.apply("foreign-tag", RULES["handlebars"], code=readable, each=True)
    draft.apply("braces", RULES["printing_tags"], code=readable, each=True)
    for markup in examined(text):
        name, inner = markup.name, markup.inner
        if markup.is_output:
            tag = None if re.match(r"\s*(?:#(?!\{)|/|\^)", inner) else _TAG_IN_OUTPUT.fullmatch(inner)
            if tag:
                written = f"{{% {tag[1].strip()} %}}"
                outer = short(text[markup.start : markup.end])
                draft.note("braces/prints-a-tag", markup.whole(written), found=outer, plain=short(written))
            continue
        if name not in _TAGS and re.match(r"\s*[.\[]|\s*\|", inner):
            written = f"{{{{ {name}{inner.rstrip()} }}}}"
            draft.note("braces/prints", markup.whole(written))
            continue
        start = text.index(name, markup.start)
        right, end = _right_name(name, inner, start)
        rest = inner[end - start - len(name) :].strip(" -")
        if not right and rest and name.startswith(("end", "else")) and name in _TAGS:
            at = inner.index(rest)
            if name == "else" and re.search(r"[=<>]|contains", rest):
                draft.note("tag-name/else", Edit(start, end, "elsif"), condition=rest)
            else:
                draft.note("tag-name/alone", markup.edit((at, at + len(rest)), ""), at=start, tag=name, found=rest)
        elif right and right != text[start:end]:
            draft.note("tag-name", Edit(start, end, right), found=text[start:end])


def _right_name(name: str, inner: str, start: int) -> tuple[str, int]:
    """Return what a tag should be called, or "", and where the name that is written ends."""
    end = start + len(name)
    second = re.match(r"\s+(if|for|unless|case|capture)\b", inner)
    if name.lower() in ("else", "end") and second:
        joined = "elsif" if name.lower() == "else" else f"end{second[1]}"
        return (joined if joined != "elsefor" else ""), end + second.end()
    plain = name.lower().replace("-", "_")
    if name in _TAGS or plain == "end":
        return "", end
    for candidate in (plain, plain.replace("_", "")):
        if candidate in _TAGS:
            return candidate, end
        if candidate in MEANT["tags"]:
            return MEANT["tags"][candidate], end
    nearest = get_close_matches(plain, _TAGS, 1, 0.75)
    return (nearest[0] if nearest else ""), end


def _blocks(draft: Draft) -> None:
    text = draft.text
    opened: list[tuple[str, int, int]] = []

    def missing(name: str, start: int, at: int) -> None:
        draft.note("block/open", Edit(at, at, f"{{% end{name} %}}"), at=start, tag=name)

    for markup in markups(text):
        name = markup.name.lower()
        shown = text[markup.start : markup.end]
        if name in BLOCKS:
            opened.append((name, markup.start, markup.end))
            continue
        closes = name.removeprefix("end")
        if name == closes or (name != "end" and closes not in BLOCKS):
            continue
        names = [block for block, _, _ in opened]
        if closes in names:
            while opened[-1][0] != closes:
                missing(*opened.pop()[:2], markup.start)
            opened.pop()
        elif opened:
            block, _, _ = opened.pop()
            draft.note("block/other", markup.whole(f"{{% end{block} %}}"), found=shown, tag=block)
        else:
            draft.note("block/nothing-open", markup.whole(""), found=shown)
    for name, start, _ in reversed(opened):
        missing(name, start, len(text))
