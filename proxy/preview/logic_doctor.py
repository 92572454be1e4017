"""What is wrong within tags: conditions, loops and assignments, as other languages would have them."""

from __future__ import annotations

import re

from proxy.preview.expression_doctor import (
    look_at_braces,
    look_at_names,
    look_at_output,
    look_at_quotes,
    look_at_value,
)
from proxy.preview.findings import (
    OPERAND,
    RULES,
    Draft,
    Edit,
    Markup,
    Rule,
    closing,
    examined,
    markups,
    names_set,
    without_quoted,
)


def examine_logic(draft: Draft) -> None:
    """Look at what stands within every pair of braces of a template."""
    known = names_set(draft.text)
    for markup in examined(draft.text):
        look_at_braces(draft, markup)
        match markup.name:
            case "" if not re.match(r"\s*(?:#(?!\{)|/|\^)", markup.inner):
                look_at_output(draft, markup, known)
            case "if" | "unless" | "elsif":
                _condition(draft, markup, known)
            case "for" | "tablerow":
                _loop(draft, markup)
            case "assign":
                _assignment(draft, markup, known)
            case "echo":
                look_at_value(draft, markup, known)
            case "capture" | "case" | "when":
                draft.apply("assignment", RULES[markup.name], markup, markup.inner.rstrip(" -"))
            case "abort_message":
                draft.apply("quotes", RULES["reason"], markup, markup.inner)


# ---- Conditions

_NO_BRACKETS = "Conditions take no brackets in Liquid: "


def _condition(draft: Draft, markup: Markup, known: frozenset[str]) -> None:
    if not markup.value:
        name = min(known, default="product")
        message = f"{markup.name} has no condition: write one, such as {{% {markup.name} {name}.found %}}."
        edit = markup.edit((0, 0), f" {name}.found ")
        draft.note("condition", message, edit, fix="Write a condition", at=markup.start)
    elif not look_at_quotes(draft, markup) and not _not_contains(draft, markup):
        draft.apply("condition", RULES["conditions"], markup)
        draft.apply("condition", RULES["literals"], markup, markup.inner)
        draft.apply("condition", RULES["text_as_number"], markup)
        _negation(draft, markup)
        _brackets(draft, markup)
        draft.apply("condition", RULES["one_sided"], markup, markup.code.rstrip(" -"))
        _filters_in_condition(draft, markup)
        look_at_names(draft, markup, known)


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
    pattern = rf"(?:(?<!=)!(?![=])\s*|(?:(?<=\s)|^)(?<!is )not\s+)({OPERAND})(\s*(?:==|contains)\s*{OPERAND})?"
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
    call = re.search(rf"\.(?:includes|contains|include)\(\s*({OPERAND})\s*\)", markup.inner)
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
    piped = rf"({OPERAND})((?:\s*\|(?!\|)\s*\w+(?:\s*:\s*{OPERAND}(?:\s*,\s*{OPERAND})*)?)+)"
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
    draft.apply("loop", RULES["colons"], markup)
    piped = re.fullmatch(r"([\w-]+)\s+in\s+([^|]+\|.+)", stripped)
    if piped and "|" in code:
        before = f"{{% assign looped_{markup.start} = {piped[2].strip()} %}}"
        message = f"A loop takes no filters: assign the list first, {before}, and loop over that."
        edits = (
            Edit(markup.start, markup.start, before),
            markup.edit(inside, f" {piped[1]} in looped_{markup.start}"),
        )
        draft.note("loop", message, *edits, fix="Assign it first")


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
    look_at_value(draft, markup.part(behind, len(markup.inner)), known)


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
    elif parts := re.fullmatch(rf"({OPERAND})\s+\.\s+({OPERAND})", value):
        written = f"{{% assign {name} = {parts[1]} | append: {parts[2]} %}}"
        said = "Liquid joins texts with a filter"
    else:
        return False
    draft.note("assignment", f"{said}: write {written}.", markup.whole(written), fix="Write it so")
    return True
