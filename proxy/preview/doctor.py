"""What pasting and guessing do to Liquid: all of it found at once, each with the edit that puts it right.

Works on text alone, so that one mistake does not hide the next. Rounds follow each other: characters, braces, the
names of tags, what stands in them, and the options of calls; each sees what the ones before have mended.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from urllib.parse import unquote

from proxy.preview.call_doctor import examine_calls
from proxy.preview.expression_doctor import examine_assignment, examine_condition, examine_loop, examine_output
from proxy.preview.findings import (
    Draft,
    Edit,
    Finding,
    line_at,
    markups,
    names_set,
    without_quoted,
    without_unread,
)

BLOCKS = ("if", "unless", "case", "for", "tablerow", "capture", "comment", "raw", "ifchanged", "translation")
_CALLS = (
    "connected_content",
    "catalog_items",
    "catalog_selection_items",
    "promotion",
    "message_extras",
    "shopping_cart",
)
_TAGS = (
    *BLOCKS,
    *(f"end{name}" for name in BLOCKS),
    *("else", "elsif", "when", "assign", "increment", "decrement", "cycle", "break", "continue", "echo", "liquid"),
    *("abort_message", "doc", "enddoc", "render", "rerender", *_CALLS),
)
_OTHER_NAMES = {
    **dict.fromkeys(("elseif", "elif", "elsif_", "elsef", "elself"), "elsif"),
    **dict.fromkeys(("set", "let", "var", "const"), "assign"),
    **dict.fromkeys(("foreach", "each", "loop"), "for"),
    **dict.fromkeys(("endforeach", "endeach", "endloop", "next"), "endfor"),
    "switch": "case",
    "endswitch": "endcase",
    "fi": "endif",
    "ifnot": "unless",
    "print": "echo",
    "abort": "abort_message",
    "endelse": "endif",
    "endelsif": "endif",
    "connected": "connected_content",
}

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
_RARE_SPACE = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|[lr][sd]quo|#x?[0-9a-f]+);", re.IGNORECASE)
_HTML_TAG = re.compile(r"</?(?:span|b|i|em|strong|u|font|br|div|p|wbr|code|mark|a)\b[^<>]*>", re.IGNORECASE)
_DOUBLE, _SINGLE = "“”„‟«»″", "‘’‚‛′`´"
_CURLY = re.compile(f"[{_DOUBLE}{_SINGLE}]")
_STRAIGHT = {**dict.fromkeys(_DOUBLE, '"'), **dict.fromkeys(_SINGLE, "'")}
_HIDDEN_NAME = re.compile(
    r"\{%-?((?:&(?:nbsp|#160|#xa0|zwnj|#8203);|[\u200b-\u200f\u2060\ufeff\u00ad])+)\s*(\w+)", re.IGNORECASE
)
_JINJA_COMMENT = re.compile(r"\{#(?![{])(.*?)#\}", re.DOTALL)
_HANDLEBARS = (
    (re.compile(r"\{\{\s*#(if|unless)\s+([^{}]*?)\s*\}\}"), r"{% \1 \2 %}"),
    (re.compile(r"\{\{\s*#each\s+([^{}]*?)\s*\}\}"), r"{% for this in \1 %}"),
    (re.compile(r"\{\{\s*(?:else|\^)\s*\}\}"), "{% else %}"),
    (re.compile(r"\{\{\s*/(if|unless)\s*\}\}"), r"{% end\1 %}"),
    (re.compile(r"\{\{\s*/each\s*\}\}"), "{% endfor %}"),
)
_ESCAPED_BRACES = re.compile(r"%7B%(?:7B|25).*?%(?:7D|25)%7D", re.IGNORECASE)

_SPLIT_BRACES = re.compile(r"(?<!\{)\{[\s\u200b\u2060\ufeff]+([{%])([^{}\n]*?)([}%])[\s\u200b\u2060\ufeff]+\}")
_TRIPLE = re.compile(r"\{\{\{(?!\{)([^{}]*)\}\}\}")
_BRACE = re.compile(r"\$\{[^{}]*\}|\{\{|\}\}|\{%|%\}")
_TAG_CLOSED_WRONGLY = re.compile(r"-?(?:\}\s*%|%\s+\}|%\)|%>|%%\}|\}\}?|%(?=[\s<]|$))")
_OUTPUT_CLOSED_WRONGLY = re.compile(r"-?(?:%\}|\)\)|\}\s+\}|\}|\]\])")
_VALUE = r"(?:'[^']*'|\"[^\"]*\"|\$\{[^{}]*\}|[\w.\[\]-]+(?:\.\$\{[^{}]*\})?)"
_COMPARED = rf"{_VALUE}(?:\s*(?:[=!<>]=?|contains)\s*{_VALUE})?"
# What is whole already, so that the words after it are the message's and not the markup's.
_COMPLETE = re.compile(
    rf"\{{\{{-?\s*{_VALUE}(?!\s*\||\w)|\{{%-?\s*(?:else|end\w+)\b"
    rf"|\{{%-?\s*(?:if|unless|elsif)\s+{_COMPARED}(?:\s+(?:and|or)\s+{_COMPARED})*(?!\s*\|)"
)
_ATTRIBUTE = re.compile(r"(?:\{\s*)?\$\{\s*([^{}$\n]+?)\s*\}(?:\s*\})?")
_SINGLE_BRACES = re.compile(r"(?<![{\w$])\{\s*([A-Za-z_]\w*(?:\.[\w\[\]]+)*(?:\s*\|[^{}\n]*)?)\s*\}(?!\})")
_ELSEWHERES = (
    (re.compile(r"\*\|\s*([A-Za-z_]\w*)\s*\|\*"), "Mailchimp"),
    (re.compile(r"%%\s*([A-Za-z_]\w*)\s*%%"), "Salesforce"),
    (re.compile(r"<%=?\s*(?:recipient\.|profile\.)?(\w+)\s*%>"), "another tool"),
    (re.compile(r"\[\[\s*([A-Za-z_]\w*)\s*\]\]"), "another tool"),
    (re.compile(r"(?<!%)%([A-Z][A-Z_]{3,})%(?!%)"), "another tool"),
    (re.compile(r"\[((?:FIRST|LAST|FULL|CUSTOMER|PRODUCT)[ _]?NAME|(?:First|Last) ?[Nn]ame)\]"), "another tool"),
    (re.compile(r"##\s*([A-Za-z_]\w*)\s*##"), "another tool"),
)
_ATTRIBUTES = {
    "fname": "first_name",
    "firstname": "first_name",
    "lname": "last_name",
    "lastname": "last_name",
    "email": "email_address",
}
_NOT_TEXT = re.compile(r"<(style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG_WORDS = r"(?:if|elsif|unless|for|assign|capture|case|when|connected_content|abort_message)\b(?!\s*[.|\[])"
_TAG_IN_OUTPUT = re.compile(rf"\s*({_TAG_WORDS}.+|else|end(?:if|for|unless|case|capture))\s*", re.DOTALL)
_ATTRIBUTE_IN_TAG = re.compile(r"\{%-?\s*(\$\{[^{}]*\}[^{}%]*?)\s*-?%\}")


def examine(template: str) -> Draft:
    """Return what is wrong with ``template`` as it is written, and its text put right.

    Raises nothing, whatever the text.
    """
    draft = Draft(template)
    for look in (_characters, _braces, _names, _blocks, _inside, examine_calls):
        first = len(draft.findings)
        look(draft)
        draft.end_round(first)
    return draft


_JARGON = re.compile(
    r"\b(?:unexpected|expected|found|token|dpipe|primitive|syntax|expression|undefined|parse|int|NoneType|lookup)\b"
    r"|'\w+' object",
    re.IGNORECASE,
)


def plain(message: str, template: str, line: int) -> str:
    """Return what an error says without the words of the Liquid library."""
    if tag := re.search(r"(?:unexpected|unknown) tag '?(\w+)'?", message):
        return f"Braze has no tag {tag[1]}, or it stands where it does not belong"
    if name := re.search(r"(?:unknown|no) filter:? '?(\w+)'?", message):
        return f"Braze has no filter {name[1]}"
    if not _JARGON.search(re.sub(r"^(?:abort_message|connected_content|:\w+|expected an option).*", "", message)):
        return message
    written = next(
        (m for m in markups(template) if line_at(template, m.start) <= line <= line_at(template, m.end)), None
    )
    if written is None:
        return "Braze can't read this line: look at its braces, quotes and names"
    return (
        f"Braze can't read {_short(template[written.start : written.end])}: look at its quotes, "
        "its pipes and its names"
    )


def unreadable(message: str, template: str, line: int) -> Finding:
    """Return the finding for an error that no round has found."""
    said = plain(message, template, line)
    written = next(
        (m for m in markups(template) if line_at(template, m.start) <= line <= line_at(template, m.end)), None
    )
    if written is None or written.name.removeprefix("end") in BLOCKS:
        return Finding("template", line, said)
    return Finding("template", line, said, "Take it out", (Edit(written.start, written.end, ""),))


def _characters(draft: Draft) -> None:
    text = draft.text
    for match in _ESCAPED_BRACES.finditer(text):
        plain = unquote(match.group())
        message = (
            f"{match.group()[:40]} is Liquid in an address's spelling, and Braze does not read it: write {plain}"
        )
        draft.note("paste", match.start(), message, "Write the braces", Edit(match.start(), match.end(), plain))
    for match in _HIDDEN_NAME.finditer(text):
        message = f"{match.group()} keeps Braze from reading the tag’s name: write {{% {match[2]}."
        draft.note("html-in-liquid", match.start(), message, "Write a space", Edit(*match.span(1), " "))
    for match in _JINJA_COMMENT.finditer(text):
        written = f"{{% comment %}}{match[1]}{{% endcomment %}}"
        message = f"{_short(match.group())} is no comment in Liquid, and customers would read it: write {written}."
        draft.note("foreign-comment", match.start(), message, "Write a comment", Edit(*match.span(), written))
    for markup in markups(text):
        is_call = markup.name == "connected_content"
        inner = text[markup.start : markup.end]
        # The text of a call holds quotes of other kinds too, and nothing in it is a text to be printed.
        code = inner if is_call else without_quoted(inner)
        where = _short(inner)
        for pattern, kind, make, message, fix in _DAMAGE:
            found = [match for match in pattern.finditer(code) if make(match.group()) != match.group()]
            if found:
                edits = [Edit(markup.start + m.start(), markup.start + m.end(), make(m.group())) for m in found]
                first = found[0].group()
                said = message.format(where=where, found=first, plain=make(first).strip() or "a space")
                draft.note(kind, edits[0].start, said, fix, *edits)


def _entity(text: str) -> str:
    plain = html.unescape(text)
    return _STRAIGHT.get(plain, " " if _RARE_SPACE.match(plain) else plain)


_DAMAGE: tuple[tuple[re.Pattern[str], str, Callable[[str], str], str, str], ...] = (
    (
        _CURLY,
        "curly-quotes",
        lambda text: _STRAIGHT[text],
        "{where} has typographic quotes ({found}), which Braze does not read as quotes: write straight "
        "ones ({plain}).",
        "Write straight quotes",
    ),
    (
        _ENTITY,
        "html-in-liquid",
        _entity,
        "{where} has {found}, as HTML spells it; Braze reads Liquid before HTML: write {plain}.",
        "Write the characters themselves",
    ),
    (
        _HTML_TAG,
        "html-in-liquid",
        lambda _: "",
        "{where} has the HTML tag {found} within its braces, pasted with formatting: take it out.",
        "Take the HTML out",
    ),
    (
        _INVISIBLE,
        "invisible-character",
        lambda _: "",
        "{where} holds a character nobody sees (a zero-width space or the like), pasted along: take it out.",
        "Take it out",
    ),
    (
        _RARE_SPACE,
        "invisible-character",
        lambda _: " ",
        "{where} holds a non-breaking space, pasted along, which Braze does not read as a space: write a plain one.",
        "Write plain spaces",
    ),
)


def _braces(draft: Draft) -> None:
    text = without_unread(draft.text)
    done: list[tuple[int, int]] = []

    def note(start: int, end: int, written: str, message: str, kind: str = "braces") -> None:
        done.append((start, end))
        draft.note(kind, start, message, f"Write {_short(written)}", Edit(start, end, written))

    for match in _SPLIT_BRACES.finditer(text):
        written = f"{{{match[1]}{match[2]}{match[3]}}}"
        note(
            match.start(), match.end(), written, f"Braces that belong together stand apart: write {_short(written)}."
        )
    for match in _TRIPLE.finditer(text):
        name = match[1].strip()
        written = f"{{{{${{{name}}}}}}}" if re.fullmatch(r"\w+", name) else f"{{{{{match[1]}}}}}"
        note(
            match.start(), match.end(), written, f"{match.group()} has three braces, Liquid has two: write {written}."
        )
    _unclosed(text, note, done)
    rest = _blanked(
        text, [*done, *((m.start, m.end) for m in markups(text)), *(m.span() for m in _NOT_TEXT.finditer(text))]
    )
    for match in _ATTRIBUTE.finditer(rest):
        written = f"{{{{${{{match[1]}}}}}}}"
        message = (
            f"Customers would read {match.group().strip()} as it stands: two more braces make "
            f"Liquid of it, {written}."
        )
        note(match.start(), match.end(), written, message)
    for match in _SINGLE_BRACES.finditer(_blanked(rest, done)):
        inner = match[1].strip()
        written = f"{{{{ {inner} }}}}" if re.search(r"[.|]", inner) else f"{{{{${{{inner}}}}}}}"
        message = f"{match.group()} has single braces, so customers would read it as it stands: write {written}."
        note(match.start(), match.end(), written, message)
    for pattern, tool in _ELSEWHERES:
        for match in pattern.finditer(_blanked(rest, done)):
            name = re.sub(r"\W+", "_", match[1].strip()).lower()
            written = f"{{{{${{{_ATTRIBUTES.get(name, name)}}}}}}}"
            message = (
                f"{match.group()} is how {tool} fills in a value; customers would read it as it "
                f"stands: write {written}."
            )
            note(match.start(), match.end(), written, message, "foreign-placeholder")


def _unclosed(text: str, note: Callable[[int, int, str, str], None], done: Iterable[tuple[int, int]]) -> None:
    taken = list(done)
    at = 0
    while (match := re.compile(r"\{\{|\{%").search(text, at)) is not None:
        start = match.start()
        at = match.end()
        if any(begin <= start < end for begin, end in taken):
            continue
        is_tag = match.group() == "{%"
        end = _tag_end(text, start) if is_tag else _output_end(text, start)
        if end is not None:
            at = end
            continue
        wanted, wrong = ("%}", _TAG_CLOSED_WRONGLY) if is_tag else ("}}", _OUTPUT_CLOSED_WRONGLY)
        limit = _limit(text, start, is_tag=is_tag)
        # The braces of ${name}, and of outputs within a tag, close nothing else.
        searched = re.sub(r"\$\{[^{}\n]*\}|\{\{.*?\}\}", lambda m: " " * len(m.group()), text[start + 2 : limit])
        closed = wrong.search(searched)
        if closed:
            begin, end = start + 2 + closed.start(), start + 2 + closed.end()
            written = f"{text[start:begin]}{' ' if text[begin - 1].isalnum() else ''}{wanted}"
            message = (
                f"{_short(text[start:end])} is closed by {closed.group().strip()}, not by "
                f"{wanted}: write {_short(written)}"
            )
        else:
            whole = text[start : start + 2 + len(text[start + 2 : limit].rstrip())]
            complete = _COMPLETE.match(whole)
            end = start + len(complete.group().rstrip() if complete else whole)
            close = "" if text[start:end].endswith("}") and not is_tag else " "
            written = f"{text[start:end]}{close}{wanted}"
            message = f"{_short(text[start:end])} is never closed: write {wanted} at its end."
        note(start, end, written, message)
        at = end


def _tag_end(text: str, start: int) -> int | None:
    end = text.find("%}", start)
    following = text.find("{%", start + 2)
    return None if end < 0 or 0 <= following < end else end + 2


def _output_end(text: str, start: int) -> int | None:
    depth = 0
    for brace in _BRACE.finditer(text, start):
        match brace.group():
            case "{{":
                depth += 1
            case "}}":
                depth -= 1
                if depth == 0:
                    return brace.end()
            case "{%" | "%}":
                return None
    return None


def _limit(text: str, start: int, *, is_tag: bool) -> int:
    """Return where an opened markup has to be over: at the next one, at an HTML tag, or at the end of its line."""
    is_call = is_tag and text[start + 2 :].lstrip("- ").startswith("connected_content")
    stops = r"\{%|<[a-z/!]" if is_call else r"\{%|\n|</?[a-z!]" if is_tag else r"\{\{|\{%(?!\})|\n|</?[a-z!]"
    found = re.compile(stops, re.IGNORECASE).search(text, start + 2)
    return found.start() if found else len(text)


def _names(draft: Draft) -> None:
    text = draft.text
    if "{{#" in text.replace(" ", ""):
        for pattern, right in _HANDLEBARS:
            for match in pattern.finditer(without_unread(text)):
                written = match.expand(right)
                message = f"{match.group()} is how another tool writes it: write {written}."
                draft.note("foreign-tag", match.start(), message, f"Write {written}", Edit(*match.span(), written))
    for match in _ATTRIBUTE_IN_TAG.finditer(without_unread(text)):
        written = f"{{{{{match[1]}}}}}"
        draft.note(
            "braces",
            match.start(),
            f"{{% %}} does something, {{{{ }}}} prints: write {written}.",
            f"Write {written}",
            Edit(*match.span(), written),
        )
    for markup in markups(text):
        whole = Edit(markup.start, markup.end, "")
        if markup.is_output:
            if re.match(r"\s*(?:#(?!\{)|/|\^)", markup.inner):
                continue
            if tag := _TAG_IN_OUTPUT.fullmatch(markup.inner):
                written = f"{{% {tag[1].strip()} %}}"
                message = (
                    f"{{{{ }}}} prints, {{% %}} does something: write {_short(written)} for "
                    f"{_short(text[markup.start : markup.end])}"
                )
                draft.note(
                    "braces", markup.start, message, f"Write {_short(written)}", Edit(whole.start, whole.end, written)
                )
            continue
        name, inner = markup.name, markup.inner
        start = text.index(name, markup.start)
        if name not in _TAGS and re.match(r"\s*[.\[]|\s*\|", inner):
            written = f"{{{{ {name}{inner.rstrip()} }}}}"
            draft.note(
                "braces",
                markup.start,
                f"{{% %}} does something, {{{{ }}}} prints: write {written}.",
                f"Write {written}",
                Edit(whole.start, whole.end, written),
            )
            continue
        right, end = _right_name(name, inner, start)
        if right and right != text[start:end]:
            message = f"Braze has no tag {text[start:end]}; it is {right}."
            draft.note("tag-name", start, message, f"Write {right}", Edit(start, end, right))


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
        if candidate in _OTHER_NAMES:
            return _OTHER_NAMES[candidate], end
    nearest = get_close_matches(plain, _TAGS, 1, 0.75)
    return (nearest[0] if nearest else ""), end


def _blocks(draft: Draft) -> None:
    text = draft.text
    opened: list[tuple[str, int, int]] = []

    def missing(name: str, start: int, at: int) -> None:
        tag = f"{{% {name} %}}"
        message = f"The {tag} of this line is never closed: write {{% end{name} %}} where it should end."
        draft.note("block", start, message, f"Write {{% end{name} %}}", Edit(at, at, f"{{% end{name} %}}"))

    for markup in markups(text):
        name = markup.name.lower()
        whole = Edit(markup.start, markup.end, "")
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
            written = f"{{% end{block} %}}"
            message = (
                f"{text[markup.start : markup.end]} closes nothing here; the open tag is {block}: write {written}."
            )
            draft.note("block", markup.start, message, f"Write {written}", Edit(whole.start, whole.end, written))
        else:
            message = f"{text[markup.start : markup.end]} closes nothing: no tag is open. Take it out."
            draft.note("block", markup.start, message, "Take it out", whole)
    for name, start, _ in reversed(opened):
        missing(name, start, len(text))


def _inside(draft: Draft) -> None:
    names = names_set(draft.text)
    for markup in markups(draft.text):
        match markup.name:
            case "" if not re.match(r"\s*(?:#(?!\{)|/|\^)", markup.inner):
                examine_output(draft, markup, names)
            case "if" | "unless" | "elsif":
                examine_condition(draft, markup, names)
            case "for" | "tablerow":
                examine_loop(draft, markup)
            case "assign" | "echo":
                examine_assignment(draft, markup, names)


def _blanked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    for start, end in spans:
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text


def _short(text: str) -> str:
    """Return a piece of the template on one line, its middle left out where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 64 else f"{line[:40]} … {line[-20:]}"
