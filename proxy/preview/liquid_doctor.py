"""What is wrong within tags and outputs, as other languages would have it: conditions, values, filters, names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from proxy.preview.braze import BRACED, FILTERS, NAMESPACES
from proxy.preview.findings import (
    MEANT,
    OPERAND,
    RULES,
    TABLES,
    Draft,
    Edit,
    Markup,
    Rule,
    closing,
    examined,
    markups,
    names_set,
    personal,
    without_quoted,
)

_BRACED = (*BRACED[1:], *NAMESPACES)
_KNOWN = ("nil", "null", "true", "false", "blank", "empty", "forloop", "now", "today", "connected")
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided_by", "%": "modulo"}
_CONDITIONS = ("if", "unless", "elsif")
_HAS_VALUES = ("", *_CONDITIONS, "case", "when", "for", "tablerow", "assign", "echo")


def examine_liquid(draft: Draft) -> None:
    """Look at what stands within every pair of braces of a template."""
    known = names_set(draft.text)
    for markup in examined(draft.text):
        if markup.name in _HAS_VALUES:
            draft.apply("braces", () if markup.is_output else RULES["mismatched"], markup)
            draft.apply("braces", RULES["filter_in_name"], markup, markup.inner)
        match markup.name:
            case "" if not re.match(r"\s*(?:#(?!\{)|/|\^)", markup.inner):
                _output(draft, markup, known)
            case "if" | "unless" | "elsif":
                _condition(draft, markup, known)
            case "for" | "tablerow":
                _loop(draft, markup)
            case "assign":
                _assignment(draft, markup, known)
            case "echo":
                _value(draft, markup, known)
            case "capture" | "case" | "when":
                draft.apply("assignment", RULES[markup.name], markup, markup.inner.rstrip(" -"))
            case "abort_message":
                draft.apply("quotes", RULES["reason"], markup, markup.inner)


# ---- Conditions


def _condition(draft: Draft, markup: Markup, known: frozenset[str]) -> None:
    if not markup.value:
        name = min(known, default="product")
        edit = markup.edit((0, 0), f" {name}.found ")
        draft.note("condition/none", edit, at=markup.start, tag=markup.name, name=name)
    elif not _quotes(draft, markup) and not _not_contains(draft, markup):
        draft.apply("condition", RULES["conditions"], markup)
        draft.apply("condition", RULES["literals"], markup, markup.inner)
        draft.apply("condition", RULES["text_as_number"], markup)
        _negation(draft, markup)
        _brackets(draft, markup)
        draft.apply("condition", RULES["one_sided"], markup, markup.code.rstrip(" -"))
        _filters_in_condition(draft, markup)
        _names(draft, markup, known)


def _not_contains(draft: Draft, markup: Markup) -> bool:
    """Turn ``if a not contains b`` into an ``unless``; tell whether there was one."""
    match = re.search(r"\s+(?:not\s+contains?|!\s*contains?|does(?:n't| not)\s+contain)\s+", markup.code)
    if match is None:
        return False
    found = match.group().strip()
    is_alone = markup.name == "if" and not re.search(r"\s(?:and|or)\s", markup.code)
    end = closing(draft.text, markup) if is_alone else None
    if end is None:
        draft.note("condition/not-contains-within", at=markup.at + match.start(), found=found)
        return True
    name, close = draft.text.index("if", markup.start), draft.text.index("endif", end.start)
    edits = Edit(name, name + 2, "unless"), markup.edit(match.span(), " contains ")
    draft.note("condition/not-contains", *edits, Edit(close, close + 5, "endunless"), at=markup.start, found=found)
    return True


def _negation(draft: Draft, markup: Markup) -> None:
    pattern = rf"(?:(?<!=)!(?![=])\s*|(?:(?<=\s)|^)(?<!is )not\s+)({OPERAND})(\s*(?:==|contains)\s*{OPERAND})?"
    for match in re.finditer(pattern, markup.code):
        operand, rest = (markup.inner[slice(*match.span(group))] if match[group] else "" for group in (1, 2))
        if "contains" in rest:
            draft.note("condition/contains-turned-round", at=markup.at + match.start())
            continue
        nothing = "!= true" if re.search(r"\.(found|truncated)$", operand) else "== blank"
        written = operand + rest.replace("==", "!=") if rest else f"{operand} {nothing}"
        negated = match.group().split(operand)[0].strip()
        draft.note("condition/not", markup.edit(match.span(), written), found=negated)


def _brackets(draft: Draft, markup: Markup) -> None:
    code = markup.code
    brackets = list(re.finditer(r"[()]", code))
    if "(" not in code:
        return
    off = [markup.edit(bracket.span(), " ") for bracket in brackets]
    call = re.search(rf"\.(?:includes|contains|include)\(\s*({OPERAND})\s*\)", markup.inner)
    inside = code.strip(" -")
    if inside.startswith("(") and inside.endswith(")") and inside.count("(") == 1:
        draft.note("condition/brackets", off[0], off[-1])
    elif call:
        draft.note("condition/called", markup.edit(call.span(), f" contains {call[1]}"), value=call[1])
    else:
        draft.note("condition/brackets-within", *off, at=markup.at + code.index("("))


def _filters_in_condition(draft: Draft, markup: Markup) -> None:
    if not re.search(r"(?<!\|)\|(?!\|)", markup.code):
        return
    edits: list[Edit] = []
    before: list[str] = []
    piped = rf"({OPERAND})((?:\s*\|(?!\|)\s*\w+(?:\s*:\s*{OPERAND}(?:\s*,\s*{OPERAND})*)?)+)"
    for number, match in enumerate(re.finditer(piped, markup.inner), 1):
        name = f"checked_{markup.start}_{number}" if number > 1 else f"checked_{markup.start}"
        before.append(f"{{% assign {name} = {match[1]}{match[2].rstrip()} %}}")
        edits.append(markup.edit(match.span(), name))
    said = "" if markup.name == "elsif" or not edits else f", {before[0]},"
    at = _opening(draft.text, markup)
    if edits and at is not None:
        edits.insert(0, Edit(at, at, "".join(before)))
    draft.note("condition/filters", *edits, at=markup.start, first=said)


def numbers_first(template: str, markup: Markup) -> tuple[str, tuple[Edit, ...]]:
    """Return the fix that makes numbers of the texts that a condition compares with numbers."""
    edits: list[Edit] = []
    before = ""
    for match in re.finditer(rf"({OPERAND})(\s*[<>]=?\s*)({OPERAND})", markup.inner):
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


def _loop(draft: Draft, markup: Markup) -> None:
    code, stripped = markup.code, markup.value
    inside = 0, len(markup.inner.rstrip(" -"))
    for rule in RULES["loops"]:
        if match := re.fullmatch(rule.pattern, stripped):
            right = match.expand(str(rule.written))
            draft.note("loop", markup.edit(inside, f" {right}"), at=markup.start, plain=right)
            return
    late = re.search(r"(?:limit|offset)\s*:.*?(\s+reversed\b)", code)
    if late and (listed := re.match(r"\s*[\w-]+\s+in\s+\S+", code)):
        edits = markup.edit((listed.end(), listed.end()), " reversed"), markup.edit(late.span(1), "")
        draft.note("loop/reversed", *edits, at=markup.at + late.start(1))
    draft.apply("loop", RULES["colons"], markup)
    piped = re.fullmatch(r"([\w-]+)\s+in\s+([^|]+\|.+)", stripped)
    if piped and "|" in code:
        before = f"{{% assign looped_{markup.start} = {piped[2].strip()} %}}"
        over = markup.edit(inside, f" {piped[1]} in looped_{markup.start}")
        draft.note("loop/filters", Edit(markup.start, markup.start, before), over)


_SPACED = Rule(
    r"^\s*\w+(?:\s+\w+)+(?=\s*=(?!=))",
    lambda match: f" {'_'.join(match.group().split())}",
    "The name of a variable has no spaces: write {plain}.",
)


def _assignment(draft: Draft, markup: Markup, known: frozenset[str]) -> None:
    draft.apply("assignment", RULES["named"], markup, markup.inner)
    if draft.apply("assignment", RULES["one_sign"], markup, markup.inner):
        return
    if draft.apply("assignment", (_SPACED,), markup, markup.inner) or _made(draft, markup):
        return
    behind = markup.inner.find("=") + 1
    _value(draft, markup.part(behind, len(markup.inner)), known)


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
        which = "list"
    elif re.match(r'\{\s*"', value) and "'" not in value:
        written = f"{{% assign {name} = '{value}' | json_parse %}}"
        which = "object"
    elif yes := re.fullmatch(r"(.+?)\s+if\s+(.+?)(?:\s+else\s+(.+))?", value):
        other = f"{{% else %}}{{% assign {name} = {yes[3]} %}}" if yes[3] else ""
        written = f"{{% if {yes[2]} %}}{{% assign {name} = {yes[1]} %}}{other}{{% endif %}}"
        which = "condition"
    elif "|" not in code and re.search(r"(?<![-=])(?:[=!<>]=|[<>])|\scontains\s", code):
        chosen = f"{{% assign {name} = true %}}{{% else %}}{{% assign {name} = false %}}"
        written = f"{{% if {value} %}}{chosen}{{% endif %}}"
        which = "compared"
    elif parts := re.fullmatch(rf"({OPERAND})\s+\.\s+({OPERAND})", value):
        written = f"{{% assign {name} = {parts[1]} | append: {parts[2]} %}}"
        which = "joined"
    else:
        return False
    draft.note(f"assignment/{which}", markup.whole(written))
    return True


# ---- Quotes


def _quotes(draft: Draft, markup: Markup) -> bool:
    """Tell whether a quote is left open, having noted it."""
    inner = markup.inner
    if inside := re.search(r"'([^'\"|]*\w)'(\w[^'\"|]*)'", inner):
        written = f'"{inside[1]}\'{inside[2]}"'
        draft.note("quotes/apostrophe", markup.edit(inside.span(), written))
        return True
    mixed = re.search(r"(['\"])([^'\"|]*)(['\"])(?=\s*-?$)", inner)
    if mixed and mixed[1] != mixed[3] and inner.count("'") == inner.count('"') == 1:
        edit = markup.edit(mixed.span(3), mixed[1])
        draft.note("quotes/mixed", edit, quote=mixed[1], other=mixed[3], text=mixed[2])
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
    draft.note("quotes/open", markup.edit(span, quote))
    return True


# ---- Outputs, values and filters


def _output(draft: Draft, markup: Markup, known: frozenset[str]) -> None:
    if not markup.value:
        draft.note("output/nothing", markup.whole(""))
        return
    ternary = re.fullmatch(rf"\s*(.+?)\s*\?\s*({OPERAND})\s*:\s*({OPERAND})\s*", markup.inner, re.DOTALL)
    if ternary and "?" in markup.code:
        yes, no = (value[1:-1] if value[0] in "'\"" else f"{{{{ {value} }}}}" for value in ternary.group(2, 3))
        written = f"{{% if {ternary[1]} %}}{yes}{{% else %}}{no}{{% endif %}}"
        draft.note("output/choice", markup.whole(written))
        return
    words = re.fullmatch(r"\s*([A-Za-z]+(?: [A-Za-z]+)+)\s*(\|.*)?-?", markup.inner, re.DOTALL)
    if words and not set(words[1].split()[1:]) & {*FILTERS, "or", "and", "contains"}:
        name = f"${{{words[1].lower().replace(' ', '_')}}}"
        draft.note("name/space", markup.edit(words.span(1), name), at=markup.start, found=words[1])
        return
    _value(draft, markup, known)


def _value(draft: Draft, markup: Markup, known: frozenset[str]) -> None:
    if _quotes(draft, markup):
        return
    inner, code = markup.inner, markup.code
    either = re.search(rf"\s*(?:\|\|(?!\s*\w+\s*:)|\?\?|(?<=\s)or(?=\s))\s*({OPERAND})\s*$", inner)
    if either and re.search(r"\|\||\?\?|\sor\s", code) and "default" not in code:
        edit = markup.edit(either.span(), f" | default: {either[1]}")
        draft.note("output/or", edit, found=either.group().split()[0])
        return
    draft.apply("filter", RULES["pipes"], markup)
    if sums := re.fullmatch(rf"\s*({OPERAND})\s*([+*/%]|(?<=\s)-(?=\s))\s*({OPERAND})\s*(\|.*)?", inner, re.DOTALL):
        is_text = re.search("['\"]", sums[1] + sums[3])
        name = "append" if sums[2] == "+" and is_text else _ARITHMETIC[sums[2]]
        written = f" {sums[1]} | {name}: {sums[3]} {sums[4] or ''}"
        edit = markup.edit((0, len(inner)), written)
        draft.note("output/sum", edit, sign=sums[2], plain=written.rstrip(), filter=name)
        return
    _filters(draft, markup, known)
    _names(draft, markup, known)


def _filters(draft: Draft, markup: Markup, known: frozenset[str]) -> None:
    pieces = list(re.finditer(r"[^|]+", markup.code))
    if not pieces:
        return
    unpiped = re.match(r"\s*\S+\s+(\w+)\s*(?::|$)", pieces[0].group())
    if unpiped and _right_filter(unpiped[1]):
        start = pieces[0].start() + unpiped.start(1)
        draft.note("filter/pipe", markup.edit((start, start), "| "), filter=unpiped[1])
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
            draft.note("filter/unknown", edit, at=at, found=name, hint=hint)
            continue
        start, end = (piece.start() + index for index in named.span(1))
        if right != name:
            draft.note("filter/misnamed", markup.edit((start, end), right), found=name)
        _argument(draft, markup, right, end, (piece.start() + named.end(), piece.end()), known)


_TAKES: Mapping[str, str] = TABLES["filter_needs"]


def _argument(
    draft: Draft, markup: Markup, name: str, start: int, span: tuple[int, int], known: frozenset[str]
) -> None:
    """Look at what stands in ``span``, behind a filter's name that ends at ``start``."""
    begin, end = span
    rest, written = markup.code[begin:end], markup.inner[begin:end]
    is_empty = not rest.strip(" :-")
    if rest[:1] in ("=", "("):
        right = written[1:].strip().removesuffix(")") if rest[0] == "(" else written[1:].strip()
        right = f": {right} " if right else " "
        draft.note("filter/colon", markup.edit((start, end), right), plain=f"{name}{right.rstrip()}")
    elif re.match(r"['\"\d]", rest):
        draft.note("filter/colon", markup.edit((start, begin), ": "), plain=f"{name}: {written.strip()}")
    elif name == "date" and _date_format(draft, markup, span):
        return
    elif name in _TAKES and is_empty:
        edit = markup.edit((start, end), f": {_TAKES[name]} ")
        which = "filter/default" if name == "default" else "filter/value"
        draft.note(which, edit, filter=name, plain=f"{name}: {_TAKES[name]}")
    else:
        bare = re.fullmatch(r":\s*([A-Za-z][A-Za-z ]*?)\s*-?", rest)
        if name == "default" and bare and bare[1] not in known and bare[1] not in _KNOWN:
            value = begin + bare.start(1), begin + bare.end(1)
            draft.note("filter/bare", markup.edit(value, f"'{bare[1]}'"), found=bare[1])
        filled = re.sub(r"(['\"])\s*\1", lambda m: m[1] + "x" * (len(m.group()) - 2) + m[1], rest)
        if gap := re.search(r"(?<=['\"])\s+(?=['\"])", filled):
            draft.note("filter/comma", markup.edit((begin + gap.start(), begin + gap.end()), ", "))


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
        which, right = "format-bare", f"'{bare[1]}'"
    elif "%" not in layout and re.search(r"yy|dd|mm", layout, re.IGNORECASE):
        parts = re.compile(r"y{4}|y{2}|m{1,4}|d{1,4}|h{2}", re.IGNORECASE)
        which, right = "format", parts.sub(lambda m: _DATE_WORDS[m.group().lower()], layout)
    elif "%M" in layout and not re.search(r"%-?[HIklsTRrXc]", layout):
        which, right = "minute", layout.replace("%M", "%m")
    else:
        return False
    start, end = bare.span(1) if bare else quoted.span(2) if quoted else (0, 0)
    draft.note(f"filter/{which}", markup.edit((span[0] + start, span[0] + end), right), found=layout)
    return True


def _right_filter(name: str) -> str:
    """Return the filter that a name is, or was meant to be; "" where nothing is like it."""
    plain = name.lower().replace("-", "_")
    known = name if name in FILTERS else plain if plain in FILTERS else MEANT["filters"].get(plain, "")
    return known or next(iter(get_close_matches(plain, FILTERS, 1, 0.8)), "")


# ---- Names

_METHOD = Rule(
    r"(?i:(?<=[\w}\]])\.(upcase|downcase|capitalize|strip|trim|to_?upper_?case|to_?lower_?case|upper|lower|escape)\b(?:\(\))?)",
    lambda match: f" | {_right_filter(match[1])}",
    "What {found} does, a filter does in Liquid: write {plain}.",
    "Write it as a filter",
)


def _names(draft: Draft, markup: Markup, known: frozenset[str]) -> None:
    """Look at how values are called: Braze's ``${name}``, its namespaces, and an answer's lists."""
    dollar = Rule(
        r"\$(?=[A-Za-z_])(\w+)(?:\}(?=\}\}|\s*$))?",
        lambda m: m[1] if re.search(rf"assign\s+\$?{m[1]}\s*=", draft.text) else f"${{{m[1]}}}",
        "The name after a $ stands in braces: write {plain}.",
        "Write the braces",
    )
    draft.apply("name", [dollar, *RULES["names"], *RULES["lengths"]], markup)
    draft.apply("name", [_METHOD] if markup.is_output else [], markup)
    # In a condition 4.5 is a number, and what stands in brackets behind a filter is what it takes.
    draft.apply("name", [] if markup.name in _CONDITIONS else RULES["items"], markup)
    draft.apply("name", RULES["called"], markup, markup.code.partition("|")[0])
    code = markup.code
    braced = rf"(?<![\w.$])({'|'.join(_BRACED)})(?:\.(\w+)|\[(?:'([^']+)'|\"([^\"]+)\")\])"
    for match in re.finditer(braced, markup.inner):
        if match[1] not in known and code[match.start()].strip():
            right = f"{match[1]}.${{{match[2] or match[3] or match[4]}}}"
            draft.note("name/braces", markup.edit(match.span(), right), found=match.group())
    for match in re.finditer(r"(?<![\w.$])(\w+(?:\.\w+)*)\.(?=\$\{)", code):
        name = match[1]
        if name.split(".")[0] in known or name in MEANT["namespaces"] or name in _BRACED:
            continue
        nearest = get_close_matches(name.lower().replace(".", "_"), _BRACED, 1, 0.7)
        if right := nearest[0] if nearest else "event_properties" if "propert" in name.lower() else "":
            draft.note("name/unlike", markup.edit(match.span(1), right), found=name)
    for match in re.finditer(r"(?<![\w.$])(\w+)\.(?:(?=\$\{)|(\w+))", code):
        name, value = match[1], match[2]
        if name in known or name not in MEANT["namespaces"]:
            continue
        right = MEANT["namespaces"][name]
        if value:
            written = shown = f"{right}.${{{value}}}" if right else f"${{{personal(value)}}}"
        else:
            written, shown = (f"{right}.", f"{right}.${{…}}") if right else ("", "${…} alone")
        draft.note("name/namespace", markup.edit(match.span(), written), found=name, plain=shown)
