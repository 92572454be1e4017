"""What is wrong within braces: conditions, loops, filters and names, as other languages would have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

from proxy.preview.braze import FILTERS
from proxy.preview.findings import Draft, Edit, Markup, closing, markups, meant, names_set, personal, without_quoted

_OTHER_FILTERS = meant(
    {
        "upcase": "upper uppercase toupper touppercase up_case",
        "downcase": "lower lowercase tolower tolowercase down_case",
        "strip": "trim trim_whitespace lstrip rstrip ltrim rtrim",
        "size": "length len count",
        "capitalize": "capitalise title titlecase title_case ucfirst propercase",
        "escape": "html_escape htmlescape escape_html h",
        "url_param_escape": "urlencode encode_uri_component encodeuricomponent uri_escape urlescape",
        "default": "fallback or else ifempty coalesce def",
        "plus": "add sum_with",
        "minus": "subtract sub",
        "times": "multiply multiplied_by mul",
        "divided_by": "divide div divide_by",
        "date": "date_format strftime format_date dateformat",
        "money": "currency money_format money_with_currency money_without_currency",
        "number_with_delimiter": "number_format numberformat thousands delimiter format_number comma",
        "slice": "substring substr left",
        "strip_html": "striptags strip_tags remove_html",
        "newline_to_br": "nl2br",
        "truncate": "shorten ellipsis cut",
        "as_json_string": "json to_json tojson",
        "sha2": "sha256",
        "uniq": "unique distinct",
    }
)
_NAMESPACES = meant(
    {
        "custom_attribute": "custom_attributes customattribute custom_attr customAttribute customAttributes",
        "event_properties": "event_property event_props event_properties_ eventProperties event_properites event",
        "api_trigger_properties": "api_trigger_property api_triggered_properties trigger_properties api_properties",
        "content_blocks": "content_block contentblock contentBlocks content_blocs",
        "canvas_entry_properties": "canvas_entry_property canvas_properties entry_properties",
        "": "user attribute attributes profile customer contact subscriber person recipient lead member",
    }
)
_BRACED = (
    *("event_properties", "custom_attribute", "api_trigger_properties", "canvas_entry_properties", "context"),
    *("campaign", "canvas", "app", "card", "content_blocks", "targeted_device", "most_recently_used_device"),
    *("sms", "subscribed_state", "whats_app"),
)
_KNOWN = ("nil", "null", "true", "false", "blank", "empty", "forloop", "now", "today", "connected")
_OPERAND = r"(?:'[^']*'|\"[^\"]*\"|\{\{.*?\}\}|\$\{[^{}]*\}|[\w.\[\]-]+(?:\.?\$\{[^{}]*\})?)"
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided_by", "%": "modulo"}
_CONDITIONS = ("if", "unless", "elsif")


class Rule(NamedTuple):
    """What people write, what to write instead, and how that is told; ``{found}`` and ``{plain}`` are the two.

    The fix is named after what to write where it has no name of its own.
    """

    pattern: str
    written: str | Callable[[re.Match[str]], str]
    message: str = "Liquid has no {found}: write {plain}."
    fix: str = ""


def _apply(draft: Draft, kind: str, markup: Markup, rules: Iterable[Rule], code: str | None = None) -> None:
    for rule in rules:
        pattern = re.compile(rule.pattern)
        found = list(pattern.finditer(markup.code if code is None else code))
        edits = []
        for match in found:
            # What stands in quotes is blank in the code, and is written again.
            whole = pattern.match(markup.inner, match.start()) or match
            edits.append(
                markup.edit(match.span(), rule.written if isinstance(rule.written, str) else rule.written(whole))
            )
        if edits:
            first = markup.inner[slice(*found[0].span())].strip()
            draft.note(kind, rule.message.format(found=first, plain=edits[0].text), *edits, fix=rule.fix)


def examine_expressions(draft: Draft) -> None:
    """Look at what stands within every pair of braces of a template."""
    names = names_set(draft.text)
    for markup in markups(draft.text):
        _braces(draft, markup)
        match markup.name:
            case "" if not re.match(r"\s*(?:#(?!\{)|/|\^)", markup.inner):
                _output(draft, markup, names)
            case "if" | "unless" | "elsif":
                _condition(draft, markup, names)
            case "for" | "tablerow":
                _loop(draft, markup)
            case "assign":
                _assignment(draft, markup, names)
            case "echo":
                _value(draft, markup, names)
            case "capture" | "case" | "when":
                _word(draft, markup)
            case "abort_message":
                _reason(draft, markup)


# ---- Conditions

_NO_BRACKETS = "Conditions take no brackets in Liquid: "
_SMALL = "Liquid writes {plain} in small letters."
_LENGTH = Rule(r"(?<!forloop)(?<!tablerowloop)\.(?:length\b(?:\(\))?|len\b(?:\(\))?|(?:size|count)\(\))", ".size")
_CONDITION = (
    Rule(r"&&|(?<=\s)&(?=\s)", "and"),
    Rule(r"\|\|", "or"),
    Rule(r"\b(?:AND|And)\b", "and", _SMALL),
    Rule(r"\b(?:OR|Or)\b", "or", _SMALL),
    Rule(r"!==|(?<=\s)=!=?|(?<=\s)(?:is not|isn't|isnt|ne|neq)(?=\s)", "!="),
    Rule(
        r"===|(?<![=!<>])=(?![=<>!])|(?<=\s)(?:is(?! not| set| defined)|eq|equals|equal to|equal)(?=\s)",
        "==",
        "{found} compares nothing in Liquid: write ==.",
    ),
    Rule(r"=>|(?<=\s)gte(?=\s)", ">="),
    Rule(r"=<|(?<=\s)lte(?=\s)", "<="),
    Rule(r"(?<=\s)(?:gt|greater than)(?=\s)", ">"),
    Rule(r"(?<=\s)(?:lt|less than)(?=\s)", "<"),
    Rule(
        r"(?<=\d),(?=\d+\s*(?:$|and\b|or\b))",
        ".",
        "A number has a point, not a comma: write a point.",
        "Write a point",
    ),
    Rule(
        rf"(?:\bexists\s+)({_OPERAND})|({_OPERAND})\s+(?:exists|is set|is defined|is present)\b",
        lambda match: f"{match[1] or match[2]} != blank",
        "Liquid asks whether something is there with != blank: write {plain}.",
        "Write != blank",
    ),
    Rule(
        rf"({_OPERAND})\s+in\s+({_OPERAND})",
        lambda match: f"{match[2]} contains {match[1]}",
        "Liquid has no in: write {plain}.",
        "Write contains",
    ),
    Rule(
        rf"({_OPERAND})\s*([<>]=?)\s*({_OPERAND})\s*([<>]=?)\s*({_OPERAND})",
        lambda match: f"{match[1]} {match[2]} {match[3]} and {match[3]} {match[4]} {match[5]}",
        "Liquid compares two values at a time: write {plain}.",
        "Write two comparisons",
    ),
    Rule(
        rf"({_OPERAND})\s*(==|contains)\s*({_OPERAND})\s+or\s+('[^']*'|\"[^\"]*\"|-?\d[\d.]*)(?=\s*(?:-?$|and\b|or\b))",
        lambda match: f"{match[1]} {match[2]} {match[3]} or {match[1]} {match[2]} {match[4]}",
        "A text alone is always true, and so is this condition: write {plain}.",
        "Write the comparison again",
    ),
    Rule(r"(?<=\s)(?:includes|include|contain|has)(?=\s+[^\s=!<>])", "contains"),
    Rule(r"\b(?:TRUE|True)\b", "true", _SMALL),
    Rule(r"\b(?:FALSE|False)\b", "false", _SMALL),
    Rule(
        r"\b(?:undefined|None|NULL|NIL|Nil)\b",
        "nil",
        "Liquid has no {found}: write nil, or blank for empty text too.",
    ),
    Rule(
        r"\s*(?:\bthen|\bdo|[:;{])\s*$",
        " ",
        "A tag ends with %}}; nothing like {found} stands before it.",
        "Take it out",
    ),
    _LENGTH,
)
_TEXT_AS_NUMBER = Rule(
    r"(?<=\.)(average|total|date|trust_score)_text(?=\s*(?:==|!=|[<>]=?)\s*[\d.]+)",
    lambda match: "created_at" if match[1] == "date" else match[1],
    "{found} is a text for reading, and can't be compared with a number: write {plain}.",
)


def _condition(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    if not markup.value:
        name = min(names, default="product")
        message = f"{markup.name} has no condition: write one, such as {{% {markup.name} {name}.found %}}."
        edit = markup.edit((0, 0), f" {name}.found ")
        draft.note("condition", message, edit, fix="Write a condition", at=markup.start)
        return
    if _quotes(draft, markup) or _not_contains(draft, markup):
        return
    code = markup.code
    _apply(draft, "condition", markup, _CONDITION)
    for match in re.finditer(r"(==|!=|<=?|>=?)\s*((['\"])(true|false|nil|null|\d+(?:\.\d+)?)\3)", markup.inner):
        is_number = match[4][0].isdigit()
        if is_number and match[1] in ("==", "!="):
            continue  # a text such as a size may well be '42'
        what = "can't be compared as a number" if is_number else "is a text, which the value never is"
        message = f"{match[2]} in quotes {what}: write {match[4]}."
        draft.note("condition", message, markup.edit(match.span(2), match[4]))
    _apply(draft, "condition", markup, (_TEXT_AS_NUMBER,))
    _negation(draft, markup)
    _brackets(draft, markup)
    for pattern in (r"^(\s*)(==|!=|<=?|>=?|contains\b)", r"(==|!=|<=?|>=?|(?<=\s)contains)(\s*)$"):
        if one_sided := re.search(pattern, code.rstrip(" -") + " "):
            operator = one_sided.group().strip()
            message = (
                f"{operator} has nothing to compare with on one side: write a value there, or leave {operator} out."
            )
            span = one_sided.start(), min(one_sided.end(), len(markup.inner))
            draft.note("condition", message, markup.edit(span, " "), fix=f"Leave {operator} out")
    _filters_in_condition(draft, markup)
    _names(draft, markup, names)


def _not_contains(draft: Draft, markup: Markup) -> bool:
    """Turn ``if a not contains b`` into an ``unless``; tell whether there was one."""
    match = re.search(r"\s+(?:not\s+contains?|!\s*contains?|does(?:n't| not)\s+contain)\s+", markup.code)
    if match is None:
        return False
    message = f"Liquid has no {match.group().strip()}: write {{% unless … contains … %}}."
    is_alone = markup.name == "if" and not re.search(r"\s(?:and|or)\s", markup.code)
    end = closing(draft.text, markup) if is_alone else None
    if end is None:
        message += " In a tag of its own, within this one."
        draft.note("condition", message, at=markup.at + match.start())
        return True
    name, close = draft.text.index("if", markup.start), draft.text.index("endif", end.start)
    edits = (
        Edit(name, name + 2, "unless"),
        markup.edit(match.span(), " contains "),
        Edit(close, close + 5, "endunless"),
    )
    draft.note("condition", message, *edits, fix="Write unless", at=markup.start)
    return True


def _negation(draft: Draft, markup: Markup) -> None:
    pattern = rf"(?:(?<!=)!(?![=])\s*|(?:(?<=\s)|^)(?<!is )not\s+)({_OPERAND})(\s*(?:==|contains)\s*{_OPERAND})?"
    for match in re.finditer(pattern, markup.code):
        operand, rest = (markup.inner[slice(*match.span(group))] if match[group] else "" for group in (1, 2))
        if "contains" in rest:
            message = "Liquid has no not, and contains can't be turned round: use {% unless … contains … %}."
            draft.note("condition", message, at=markup.at + match.start())
            continue
        nothing = "!= true" if re.search(r"\.(found|truncated)$", operand) else "== blank"
        written = operand + rest.replace("==", "!=") if rest else f"{operand} {nothing}"
        negated = match.group().split(operand)[0].strip()
        message = f"Liquid has no {negated} to negate with: write {written}, or use unless."
        draft.note("condition", message, markup.edit(match.span(), written))


def _brackets(draft: Draft, markup: Markup) -> None:
    code = markup.code
    brackets = list(re.finditer(r"[()]", code))
    if "(" not in code:
        return
    off = [markup.edit(bracket.span(), " ") for bracket in brackets]
    call = re.search(rf"\.(?:includes|contains|include)\(\s*({_OPERAND})\s*\)", markup.inner)
    inside = code.strip(" -")
    if inside.startswith("(") and inside.endswith(")") and inside.count("(") == 1:
        message = f"{_NO_BRACKETS}leave them out."
        draft.note("condition", message, off[0], off[-1], fix="Take the brackets off")
    elif call:
        message = f"Liquid calls nothing with brackets: write contains {call[1]}."
        draft.note("condition", message, markup.edit(call.span(), f" contains {call[1]}"), fix="Write contains")
    else:
        message = (
            f"{_NO_BRACKETS}they are read from right to left; put one {{% if %}} into another where that matters."
        )
        at = markup.at + code.index("(")
        draft.note("condition", message, *off, fix="Take the brackets off", at=at)


def _filters_in_condition(draft: Draft, markup: Markup) -> None:
    if not re.search(r"(?<!\|)\|(?!\|)", markup.code):
        return
    edits: list[Edit] = []
    before: list[str] = []
    piped = rf"({_OPERAND})((?:\s*\|(?!\|)\s*\w+(?:\s*:\s*{_OPERAND}(?:\s*,\s*{_OPERAND})*)?)+)"
    for number, match in enumerate(re.finditer(piped, markup.inner), 1):
        name = f"checked_{markup.start}_{number}" if number > 1 else f"checked_{markup.start}"
        before.append(f"{{% assign {name} = {match[1]}{match[2].rstrip()} %}}")
        edits.append(markup.edit(match.span(), name))
    said = "" if markup.name == "elsif" or not edits else f", {before[0]},"
    at = _opening(draft.text, markup)
    if edits and at is not None:
        edits.insert(0, Edit(at, at, "".join(before)))
    message = f"A condition takes no filters: assign the value first{said} and compare that."
    draft.note("condition", message, *edits, fix="Assign it first", at=markup.start)


def numbers_first(template: str, markup: Markup) -> tuple[str, tuple[Edit, ...]]:
    """Return the fix that makes numbers of the texts that a condition compares with numbers."""
    edits: list[Edit] = []
    before = ""
    for match in re.finditer(rf"({_OPERAND})(\s*[<>]=?\s*)({_OPERAND})", markup.inner):
        for group in (1, 3):
            if not re.match(r"-?\d", match[group]):
                name = f"number_{markup.start + match.start(group)}"
                before += f"{{% assign {name} = {match[group]} | plus: 0 %}}"
                edits.append(markup.edit(match.span(group), name))
    at = _opening(template, markup)
    if not edits or at is None:
        return "", ()
    return "Make a number of it first", (Edit(at, at, before), *edits)


def _opening(template: str, markup: Markup) -> int | None:
    """Return where to assign what a condition reads: before its tag, or before the ``if`` of an ``elsif``."""
    if markup.name != "elsif":
        return markup.start
    opened: list[int] = []
    for other in markups(template):
        if other.start >= markup.start:
            break
        if other.name in ("if", "unless"):
            opened.append(other.start)
        elif other.name in ("endif", "endunless") and opened:
            opened.pop()
    return opened[-1] if opened else None


# ---- Loops, assignments, and tags of one word

_LOOPS = (
    (r"\(\s*([\w-]+\s+in\s+[^()]+?)\s*\)(.*)", r"\1\2"),
    (r"(?:each|var|let|const)\s+([\w-]+)\s+(?:in|of)\s+(.+)", r"\1 in \2"),
    (r"\(?\s*(?:var\s+|let\s+|const\s+)?([\w-]+)\s+of\s+([^()]+?)\)?", r"\1 in \2"),
    (r"([\w.\[\]]+)\s+as\s+(\w+)", r"\2 in \1"),
    (r"(\w+)\s*:\s*([\w.\[\]]+)", r"\1 in \2"),
    (r"(\w+)\s*,\s*\w+\s+in\s+(.+)", r"\1 in \2"),
    (r"([\w-]+\s+in\s+[^|]+?)\s*\|\s*((?:limit|offset|reversed)\b.*)", r"\1 \2"),
    (r"([\w-]+)\s+in\s+(?:\[\s*)?(\d+|\w+)\s*\.{2,3}\s*(\d+|[\w.]+)(?:\s*\])?", r"\1 in (\2..\3)"),
    (r"([\w-]+)\s+in\s+\(\s*([\w.]+?)\s*\.{3}\s*([\w.]+)\s*\)", r"\1 in (\2..\3)"),
    (r"([\w-]+)\s+in\s+range\(\s*(?:(\d+)\s*,\s*)?(\d+)\s*\)", r"\1 in (\g<2>..\3)"),
    (r"\(?\s*(?:var\s+|let\s+)?(\w+)\s*=\s*(\d+)\s*;\s*\w+\s*<=?\s*([\w.]+)\s*;.*", r"\1 in (\2..\3)"),
    (r"([\w.]+\.reviews)", r"review in \1"),
    (r"([\w.]+\.products)", r"product in \1"),
    (r"([\w-]+\s+in\s+.+?)\s*(?:[:{;]|\bdo)", r"\1"),
    (r"([\w-]+)\s+In\s+(.+)|([\w-]+)\s+IN\s+(.+)", r"\1\3 in \2\4"),
)


def _loop(draft: Draft, markup: Markup) -> None:
    code, stripped = markup.code, markup.value
    inside = 0, len(markup.inner.rstrip(" -"))
    for pattern, written in _LOOPS:
        if match := re.fullmatch(pattern, stripped):
            right = match.expand(written)
            edit = markup.edit(inside, f" {right}")
            draft.note(
                "loop", f"A loop is written {{% for {right} %}}.", edit, fix=f"Write for {right}", at=markup.start
            )
            return
    late = re.search(r"(?:limit|offset)\s*:.*?(\s+reversed\b)", code)
    if late and (listed := re.match(r"\s*[\w-]+\s+in\s+\S+", code)):
        edits = markup.edit((listed.end(), listed.end()), " reversed"), markup.edit(late.span(1), "")
        message = "reversed stands right behind the list, and is overlooked here: move it there."
        draft.note("loop", message, *edits, fix="Move reversed", at=markup.at + late.start(1))
    for match in re.finditer(r"\b(limit|offset|cols)(\s*=\s*|\s+)(?=[\w{])", code):
        message = f"{match[1]} takes a colon: write {match[1]}:{code[match.end() :].split()[0]}."
        draft.note("loop", message, markup.edit(match.span(), f"{match[1]}:"))
    piped = re.fullmatch(r"([\w-]+)\s+in\s+([^|]+\|.+)", stripped)
    if piped and "|" in code:
        before = f"{{% assign looped_{markup.start} = {piped[2].strip()} %}}"
        message = f"A loop takes no filters: assign the list first, {before}, and loop over that."
        edits = (
            Edit(markup.start, markup.start, before),
            markup.edit(inside, f" {piped[1]} in looped_{markup.start}"),
        )
        draft.note("loop", message, *edits, fix="Assign it first")


def _assignment(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    inner = markup.inner
    if braced := re.match(r"\s*(\$\{?\s*(\w+)\s*\}?|\{\{?\s*\$?\{?(\w+)\s*\}+)\s*=", inner):
        name = braced[2] or braced[3]
        message = f"assign takes a plain name, not {braced[1]}: write {name}."
        draft.note("assignment", message, markup.edit(braced.span(1), name), at=markup.at)
    if wrong := re.match(r"\s*(\w+)(\s*(?:===?|:=|:|<-)\s*|\s+(?=['\"\d]))", inner):
        message = f"assign takes one =, found {wrong[2].strip() or 'nothing'}: write {wrong[1]} = …."
        draft.note("assignment", message, markup.edit(wrong.span(2), " = "), fix="Write =")
    elif spaced := re.match(r"\s*(\w+(?:\s+\w+)+)\s*=(?!=)", inner):
        name = re.sub(r"\s+", "_", spaced[1])
        message = f"The name of a variable has no spaces: write {name}."
        draft.note("assignment", message, markup.edit(spaced.span(1), name), at=markup.at)
    elif not _made(draft, markup):
        behind = inner.find("=") + 1
        _value(draft, replace(markup, inner=inner[behind:], at=markup.at + behind), names)


def _made(draft: Draft, markup: Markup) -> bool:
    """Tell whether an ``assign`` makes what Liquid makes in another way, having noted it."""
    match = re.fullmatch(r"\s*(\w+)\s*=\s*(.+?)\s*-?", markup.inner, re.DOTALL)
    if match is None:
        return False
    name, value = match[1], match[2]
    code = without_quoted(value)
    if items := re.fullmatch(r"\[(.*)\]", value, re.DOTALL):
        texts = ",".join(item.strip().strip("'\"") for item in items[1].split(","))
        written = f"{{% assign {name} = '{texts}' | split: ',' %}}"
        said = "Liquid makes a list out of a text"
    elif re.match(r'\{\s*"', value) and "'" not in value:
        written = f"{{% assign {name} = '{value}' | json_parse %}}"
        said = "Liquid makes an object out of a text"
    elif yes := re.fullmatch(r"(.+?)\s+if\s+(.+?)(?:\s+else\s+(.+))?", value):
        other = f"{{% else %}}{{% assign {name} = {yes[3]} %}}" if yes[3] else ""
        written = f"{{% if {yes[2]} %}}{{% assign {name} = {yes[1]} %}}{other}{{% endif %}}"
        said = "assign takes no condition"
    elif "|" not in code and re.search(r"(?<![-=])(?:[=!<>]=|[<>])|\scontains\s", code):
        chosen = f"{{% assign {name} = true %}}{{% else %}}{{% assign {name} = false %}}"
        written = f"{{% if {value} %}}{chosen}{{% endif %}}"
        said = "assign compares nothing"
    elif parts := re.fullmatch(rf"({_OPERAND})\s+\.\s+({_OPERAND})", value):
        written = f"{{% assign {name} = {parts[1]} | append: {parts[2]} %}}"
        said = "Liquid joins texts with a filter"
    else:
        return False
    draft.note("assignment", f"{said}: write {written}.", markup.whole(written), fix="Write it so")
    return True


def _word(draft: Draft, markup: Markup) -> None:
    pattern, said = {
        "capture": (r"(?<=\w)\s*=.*", "capture takes a name alone"),
        "case": (r"\s*:\s*$", "A tag ends with %}"),
        "when": (r"^\s*(?:==|=)|\s*:\s*$", "when takes the value alone"),
    }[markup.name]
    if match := re.search(pattern, markup.inner.rstrip(" -"), re.DOTALL):
        message = f"{said}: take {match.group().strip()} out."
        draft.note("assignment", message, markup.edit(match.span(), ""), fix="Take it out")


def _reason(draft: Draft, markup: Markup) -> None:
    if bare := re.search(r"\(\s*([^\s'\"{}()][^'\"{}()]*?)\s*\)", markup.inner):
        message = f"The reason of abort_message stands in quotes: write abort_message('{bare[1]}')."
        draft.note("quotes", message, markup.edit(bare.span(1), f"'{bare[1]}'"), fix="Write it in quotes")


# ---- Braces and quotes

_MISMATCHED = (
    Rule(
        r"\{\{\s*((?:\w+\.)*\$\{[^{}]*\}[\w.\[\]]*|[\w.\[\]]+)\s*(?:\}(?!\})|\)\)|\]\]|\}\}\}+)",
        lambda match: f"{{{{{match[1]}}}}}",
        "The braces of {found} do not match: write {plain}.",
        "Write matching braces",
    ),
    Rule(
        r"(?<![{$])\{\s*((?:\w+\.)*\$\{[^{}]*\})\s*\}(?!\})",
        lambda match: f"{{{{{match[1]}}}}}",
        "{found} has single braces: write {plain}.",
        "Write two braces",
    ),
)
_FILTER_IN_NAME = Rule(
    r"\$\{\s*([^{}|]+?)\s*\|\s*([^{}]+?)\s*\}",
    lambda match: f"${{{match[1]}}} | {match[2]}",
    "A filter stands after the name’s braces, or Braze takes it for a part of the name: write {plain}.",
    "Move the filter out",
)
_HAS_VALUES = ("", *_CONDITIONS, "case", "when", "for", "tablerow", "assign", "echo")


def _braces(draft: Draft, markup: Markup) -> None:
    if markup.name in _HAS_VALUES:
        _apply(draft, "braces", markup, () if markup.is_output else _MISMATCHED)
        _apply(draft, "braces", markup, (_FILTER_IN_NAME,), markup.inner)


def _quotes(draft: Draft, markup: Markup) -> bool:
    """Tell whether a quote is left open, having noted it."""
    inner = markup.inner
    if inside := re.search(r"'([^'\"|]*\w)'(\w[^'\"|]*)'", inner):
        written = f'"{inside[1]}\'{inside[2]}"'
        message = f"The apostrophe ends the text too early: write {written}."
        draft.note("quotes", message, markup.edit(inside.span(), written), fix="Write double quotes")
        return True
    mixed = re.search(r"(['\"])([^'\"|]*)(['\"])(?=\s*-?$)", inner)
    if mixed and mixed[1] != mixed[3] and inner.count("'") == inner.count('"') == 1:
        message = f"A text opened with {mixed[1]} is closed with {mixed[3]}: write {mixed[1]}{mixed[2]}{mixed[1]}."
        draft.note("quotes", message, markup.edit(mixed.span(3), mixed[1]), fix=f"Write {mixed[1]} at both ends")
        return True
    rest = re.sub(r"'[^']*'|\"[^\"]*\"", "", inner)
    quote = next((quote for quote in "'\"" if quote in rest), None)
    if quote is None:
        return False
    end = len(inner.rstrip(" -"))
    _, colon, argument = inner.partition(":")
    if end and inner[end - 1] in "'\"" and inner[end - 1] != quote:
        span = end - 1, end
    elif re.match(r"[\w !?.,-]+" + quote, argument.strip()):
        start = inner.index(colon) + 1 + len(argument) - len(argument.lstrip())
        span = start, start
    else:
        span = end, end
    message = f"A text opened with {quote} is not closed: write {quote} at both ends."
    draft.note("quotes", message, markup.edit(span, quote), fix=f"Write the missing {quote}")
    return True


# ---- Outputs, values and filters


_PIPES = (
    Rule(rf"\s[\\/]\s*(?=(?:{'|'.join(FILTERS)})\b)", " | ", "A filter stands after a |: write one.", "Write the |"),
    Rule(r"\|\s*\|", "|", "Two | stand where one belongs: write one.", "Write one |"),
    Rule(r"\|(?=\s*-?$)", "", "A | has no filter after it: take it out.", "Take it out"),
)


def _output(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    if not markup.value:
        message = "{{ }} has nothing in it: take it out, or write what to print."
        draft.note("output", message, markup.whole(""), fix="Take it out")
        return
    ternary = re.fullmatch(rf"\s*(.+?)\s*\?\s*({_OPERAND})\s*:\s*({_OPERAND})\s*", markup.inner, re.DOTALL)
    if ternary and "?" in markup.code:
        yes, no = (value[1:-1] if value[0] in "'\"" else f"{{{{ {value} }}}}" for value in ternary.group(2, 3))
        written = f"{{% if {ternary[1]} %}}{yes}{{% else %}}{no}{{% endif %}}"
        message = f"Liquid has no ? and :, write {written}."
        draft.note("output", message, markup.whole(written), fix="Write it with if")
        return
    words = re.fullmatch(r"\s*([A-Za-z]+(?: [A-Za-z]+)+)\s*(\|.*)?-?", markup.inner, re.DOTALL)
    if words and not set(words[1].split()[1:]) & {*FILTERS, "or", "and", "contains"}:
        name = f"${{{words[1].lower().replace(' ', '_')}}}"
        message = f"{words[1]} has a space, and no braces of its own: write {name}."
        draft.note("name", message, markup.edit(words.span(1), name), at=markup.start)
        return
    _value(draft, markup, names)


def _value(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    """Look at a value and its filters."""
    if _quotes(draft, markup):
        return
    inner, code = markup.inner, markup.code
    either = re.search(rf"\s*(?:\|\|(?!\s*\w+\s*:)|\?\?|(?<=\s)or(?=\s))\s*({_OPERAND})\s*$", inner)
    if either and re.search(r"\|\||\?\?|\sor\s", code) and "default" not in code:
        written = f" | default: {either[1]}"
        message = f"{{{{ }}}} takes no {either.group().split()[0]}: write{written}."
        draft.note("output", message, markup.edit(either.span(), written), fix="Write default")
        return
    _apply(draft, "filter", markup, _PIPES)
    if sums := re.fullmatch(rf"\s*({_OPERAND})\s*([+*/%]|(?<=\s)-(?=\s))\s*({_OPERAND})\s*(\|.*)?", inner, re.DOTALL):
        is_text = re.search("['\"]", sums[1] + sums[3])
        name = "append" if sums[2] == "+" and is_text else _ARITHMETIC[sums[2]]
        written = f" {sums[1]} | {name}: {sums[3]} {sums[4] or ''}"
        message = f"Liquid does not reckon with {sums[2]}: write{written.rstrip()}."
        draft.note("output", message, markup.edit((0, len(inner)), written), fix=f"Write {name}")
        return
    _filters(draft, markup, names)
    _names(draft, markup, names)


def _filters(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    pieces = list(re.finditer(r"[^|]+", markup.code))
    if not pieces:
        return
    unpiped = re.match(r"\s*\S+\s+(\w+)\s*(?::|$)", pieces[0].group())
    if unpiped and _right_filter(unpiped[1]):
        start = pieces[0].start() + unpiped.start(1)
        message = f"A filter stands after a |: write | {unpiped[1]}."
        draft.note("filter", message, markup.edit((start, start), "| "), fix="Write the |")
        return
    for piece in pieces[1:]:
        named = re.match(r"\s*([A-Za-z_][\w-]*)\s*", piece.group())
        if named is None:
            continue
        name, right = named[1], _right_filter(named[1])
        if not right:
            nearest = get_close_matches(name.lower(), FILTERS, 1, 0.5)
            hint = f"the nearest is {nearest[0]}" if nearest else "Braze’s page “Filters” lists them"
            edit = markup.edit((piece.start() - 1, piece.end()), " ")
            at = markup.at + piece.start() + named.start(1)
            draft.note("filter", f"Braze has no filter {name}; {hint}.", edit, fix="Take it out", at=at)
            continue
        start, end = (piece.start() + index for index in named.span(1))
        if right != name:
            draft.note("filter", f"Braze has no filter {name}; it is {right}.", markup.edit((start, end), right))
        _argument(draft, markup, right, end, (piece.start() + named.end(), piece.end()), names)


_TAKES = {
    "split": "','",
    **dict.fromkeys(("plus", "minus", "times", "divided_by", "modulo", "at_least", "at_most"), "1"),
    "append": "'!'",
    "prepend": "'No. '",
    "replace": "'a', 'b'",
    "remove": "'x'",
    "map": "'content'",
    "slice": "0, 3",
    "time_zone": "'Europe/London'",
    "where": "'stars', 5",
    "concat": "others",
    "default": "'there'",
}


def _argument(
    draft: Draft, markup: Markup, name: str, start: int, span: tuple[int, int], names: frozenset[str]
) -> None:
    """Look at what stands in ``span``, behind a filter's name that ends at ``start``."""
    begin, end = span
    rest, written = markup.code[begin:end], markup.inner[begin:end]
    is_empty = not rest.strip(" :-")
    if rest[:1] in ("=", "("):
        right = written[1:].strip().removesuffix(")") if rest[0] == "(" else written[1:].strip()
        right = f": {right} " if right else " "
        message = f"What a filter takes stands after a colon: write {name}{right.rstrip()}."
        draft.note("filter", message, markup.edit((start, end), right), fix="Write the colon")
    elif re.match(r"['\"\d]", rest):
        message = f"What a filter takes stands after a colon: write {name}: {written.strip()}."
        draft.note("filter", message, markup.edit((start, begin), ": "), fix="Write the colon")
    elif name == "date" and _date_format(draft, markup, span):
        return
    elif name in _TAKES and is_empty:
        right = f"{name}: {_TAKES[name]}"
        needs = "says nothing to print instead" if name == "default" else "needs a value"
        edit = markup.edit((start, end), f": {_TAKES[name]} ")
        draft.note("filter", f"{name} {needs}: write {right}.", edit, fix=f"Write {right}")
    else:
        bare = re.fullmatch(r":\s*([A-Za-z][A-Za-z ]*?)\s*-?", rest)
        if name == "default" and bare and bare[1] not in names and bare[1] not in _KNOWN:
            message = f"{bare[1]} without quotes is the name of a variable that nothing sets: write '{bare[1]}'."
            value = begin + bare.start(1), begin + bare.end(1)
            draft.note("filter", message, markup.edit(value, f"'{bare[1]}'"), fix="Write it in quotes")
        filled = re.sub(r"(['\"])\s*\1", lambda m: m[1] + "x" * (len(m.group()) - 2) + m[1], rest)
        if gap := re.search(r"(?<=['\"])\s+(?=['\"])", filled):
            edit = markup.edit((begin + gap.start(), begin + gap.end()), ", ")
            message = "A comma stands between what a filter takes: write one."
            draft.note("filter", message, edit, fix="Write the comma")


_DATE_WORDS = {
    "yyyy": "%Y", "yy": "%y", "mmmm": "%B", "mmm": "%b", "mm": "%m", "m": "%-m",
    "dddd": "%A", "ddd": "%a", "dd": "%d", "d": "%-d", "hh": "%H",
}  # fmt: skip


def _date_format(draft: Draft, markup: Markup, span: tuple[int, int]) -> bool:
    """Tell whether a date's format is another language's, having noted it."""
    rest, written = markup.code[slice(*span)], markup.inner[slice(*span)]
    bare = re.fullmatch(r"\s*:\s*(%[^'\"|]*?)\s*-?", rest)
    quoted = re.fullmatch(r"\s*:\s*(['\"])(.*)\1\s*-?", written, re.DOTALL)
    layout = quoted[2] if quoted else ""
    if bare:
        right = f"'{bare[1]}'"
        message = f"The format stands in quotes: write {right}."
    elif "%" not in layout and re.search(r"yy|dd|mm", layout, re.IGNORECASE):
        parts = re.compile(r"y{4}|y{2}|m{1,4}|d{1,4}|h{2}", re.IGNORECASE)
        right = parts.sub(lambda m: _DATE_WORDS[m.group().lower()], layout)
        message = f"Customers would read {layout} as it stands; Liquid writes a date’s parts with %: write {right}."
    elif "%M" in layout and not re.search(r"%-?[HIklsTRrXc]", layout):
        right = layout.replace("%M", "%m")
        message = f"%M is the minute, not the month: write {right}."
    else:
        return False
    start, end = bare.span(1) if bare else quoted.span(2) if quoted else (0, 0)
    draft.note("filter", message, markup.edit((span[0] + start, span[0] + end), right))
    return True


def _right_filter(name: str) -> str:
    """Return the filter that a name is, or was meant to be; "" where nothing is like it."""
    plain = name.lower().replace("-", "_")
    known = name if name in FILTERS else plain if plain in FILTERS else _OTHER_FILTERS.get(plain, "")
    return known or next(iter(get_close_matches(plain, FILTERS, 1, 0.8)), "")


# ---- Names

_AS_ITEM = "An item of a list is written with its number in brackets: {plain}."
_ITEM = r"(?<!\d)\.(\d+)(?=\.|\s|$|\|)"
_CALLED = r"(?<=\w)\((\d+)\)"
_NAMES = (
    Rule(r"(?<=\w)\{(\d+)\}", lambda m: f"[{m[1]}]", _AS_ITEM, "Write brackets"),
    Rule(
        r"(?<=\bforloop\.)(?:idx|i|counter|count|number|position)\b",
        "index",
        "forloop has no {found}: write forloop.index.",
    ),
    Rule(r"[$#]\s+\{|#\{", "${", "$ and {{ belong together: write ${{."),
    Rule(
        r"(?<![{$\w])\{(?![{%])\s*(\w+)\s*\}(?!\})",
        lambda m: f"${{{m[1]}}}",
        "A $ is missing before {found}: write {plain}.",
        "Write the $",
    ),
    Rule(
        r"\$\{([^{}]*)$",
        lambda m: f"${{{m[1].rstrip()}}}",
        "{found} has no closing brace: write {plain}.",
        "Close the brace",
    ),
    Rule(r"->", ".", "Liquid has no ->: write a dot.", "Write a dot"),
    Rule(_ITEM, lambda m: f"[{m[1]}]", _AS_ITEM, "Write brackets"),
    Rule(r"\.\[(\d+)\]", lambda m: f"[{m[1]}]", "No dot stands before a bracket: write {plain}.", "Take the dot out"),
    Rule(_CALLED, lambda m: f"[{m[1]}]", _AS_ITEM, "Write brackets"),
)
_METHOD = Rule(
    r"(?i:(?<=[\w}\]])\.(upcase|downcase|capitalize|strip|trim|to_?upper_?case|to_?lower_?case|upper|lower|escape)\b(?:\(\))?)",
    lambda match: f" | {_right_filter(match[1])}",
    "What {found} does, a filter does in Liquid: write{plain}.",
    "Write it as a filter",
)


def _names(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    """Look at how values are called: Braze's ``${name}``, its namespaces, and an answer's lists."""
    is_condition = markup.name in _CONDITIONS
    dollar = Rule(
        r"\$(?=[A-Za-z_])(\w+)(?:\}(?=\}\}|\s*$))?",
        lambda m: m[1] if re.search(rf"assign\s+\$?{m[1]}\s*=", draft.text) else f"${{{m[1]}}}",
        "The name after a $ stands in braces: write {plain}.",
        "Write the braces",
    )
    rules = [dollar, *_NAMES, *([_METHOD] if markup.is_output else []), *([] if is_condition else [_LENGTH])]
    for rule in rules:
        if rule.pattern == _ITEM and is_condition:
            continue  # 4.5 is a number there
        # What stands in brackets behind a filter is what it takes.
        code = markup.code.partition("|")[0] if rule.pattern == _CALLED else markup.code
        _apply(draft, "name", markup, (rule,), code)
    code = markup.code
    braced = rf"(?<![\w.$])({'|'.join(_BRACED)})(?:\.(\w+)|\[(?:'([^']+)'|\"([^\"]+)\")\])"
    for match in re.finditer(braced, markup.inner):
        if match[1] not in names and code[match.start()].strip():
            right = f"{match[1]}.${{{match[2] or match[3] or match[4]}}}"
            message = f"Braze reads {match.group()} with a dollar and braces: write {right}."
            draft.note("name", message, markup.edit(match.span(), right))
    for match in re.finditer(r"(?<![\w.$])(\w+(?:\.\w+)*)\.(?=\$\{)", code):
        name = match[1]
        if name.split(".")[0] in names or name in _NAMESPACES or name in _BRACED:
            continue
        nearest = get_close_matches(name.lower().replace(".", "_"), _BRACED, 1, 0.7)
        if right := nearest[0] if nearest else "event_properties" if "propert" in name.lower() else "":
            draft.note("name", f"Braze has no {name}: write {right}.${{…}}.", markup.edit(match.span(1), right))
    for match in re.finditer(r"(?<![\w.$])(\w+)\.(?:(?=\$\{)|(\w+))", code):
        name, value = match[1], match[2]
        if name in names or name not in _NAMESPACES:
            continue
        right = _NAMESPACES[name]
        if value:
            written = shown = f"{right}.${{{value}}}" if right else f"${{{personal(value)}}}"
        else:
            written, shown = (f"{right}.", f"{right}.${{…}}") if right else ("", "${…} alone")
        edit = markup.edit(match.span(), written)
        draft.note("name", f"Braze has no {name}: write {shown}.", edit, fix=f"Write {shown}")
