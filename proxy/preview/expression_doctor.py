"""What is wrong within braces: conditions, loops, filters and names, as other languages would have them."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches

from proxy.preview.braze import FILTERS
from proxy.preview.findings import Draft, Edit, Markup, markups, without_quoted

_OTHER_FILTERS = {
    **dict.fromkeys(("upper", "uppercase", "toupper", "touppercase", "up_case"), "upcase"),
    **dict.fromkeys(("lower", "lowercase", "tolower", "tolowercase", "down_case"), "downcase"),
    **dict.fromkeys(("trim", "trim_whitespace", "lstrip", "rstrip", "ltrim", "rtrim"), "strip"),
    **dict.fromkeys(("length", "len", "count"), "size"),
    **dict.fromkeys(("capitalise", "title", "titlecase", "title_case", "ucfirst", "propercase"), "capitalize"),
    **dict.fromkeys(("html_escape", "htmlescape", "escape_html", "h"), "escape"),
    **dict.fromkeys(
        ("urlencode", "encode_uri_component", "encodeuricomponent", "uri_escape", "urlescape"), "url_param_escape"
    ),
    **dict.fromkeys(("fallback", "or", "else", "ifempty", "coalesce", "def"), "default"),
    **dict.fromkeys(("add", "sum_with"), "plus"),
    **dict.fromkeys(("subtract", "sub"), "minus"),
    **dict.fromkeys(("multiply", "multiplied_by", "mul"), "times"),
    **dict.fromkeys(("divide", "div", "divide_by"), "divided_by"),
    **dict.fromkeys(("date_format", "strftime", "format_date", "dateformat"), "date"),
    **dict.fromkeys(("currency", "money_format", "money_with_currency", "money_without_currency"), "money"),
    **dict.fromkeys(
        ("number_format", "numberformat", "thousands", "delimiter", "format_number", "comma"), "number_with_delimiter"
    ),
    **dict.fromkeys(("substring", "substr", "left"), "slice"),
    **dict.fromkeys(("striptags", "strip_tags", "remove_html"), "strip_html"),
    **dict.fromkeys(("nl2br",), "newline_to_br"),
    **dict.fromkeys(("shorten", "ellipsis", "cut"), "truncate"),
    **dict.fromkeys(("json", "to_json", "tojson"), "as_json_string"),
    **dict.fromkeys(("sha256",), "sha2"),
    **dict.fromkeys(("unique", "distinct"), "uniq"),
}
_NAMESPACES = {
    **dict.fromkeys(
        ("custom_attributes", "customattribute", "custom_attr", "customAttribute", "customAttributes"),
        "custom_attribute",
    ),
    **dict.fromkeys(
        ("event_property", "event_props", "event_properties_", "eventProperties", "event_properites", "event"),
        "event_properties",
    ),
    **dict.fromkeys(
        ("api_trigger_property", "api_triggered_properties", "trigger_properties", "api_properties"),
        "api_trigger_properties",
    ),
    **dict.fromkeys(("content_block", "contentblock", "contentBlocks", "content_blocs"), "content_blocks"),
    **dict.fromkeys(("canvas_entry_property", "canvas_properties", "entry_properties"), "canvas_entry_properties"),
    **dict.fromkeys(
        (
            *("user", "attribute", "attributes", "profile", "customer", "contact", "subscriber", "person"),
            *("recipient", "lead", "member"),
        ),
        "",
    ),
}
_PERSONAL = {
    **dict.fromkeys(("firstname", "fname", "givenname", "name"), "first_name"),
    **dict.fromkeys(("lastname", "lname", "surname", "familyname"), "last_name"),
    **dict.fromkeys(("email", "mail", "emailaddress"), "email_address"),
    **dict.fromkeys(("phone", "mobile", "phonenumber"), "phone_number"),
    **dict.fromkeys(("id", "userid", "externalid"), "user_id"),
}
_BRACED = (
    *("event_properties", "custom_attribute", "api_trigger_properties", "canvas_entry_properties", "context"),
    *("campaign", "canvas", "app", "card", "content_blocks", "targeted_device", "most_recently_used_device"),
    *("sms", "subscribed_state", "whats_app"),
)
_KNOWN = ["nil", "null", "true", "false", "blank", "empty", "forloop", "now", "today", "connected"]
_OPERAND = r"(?:'[^']*'|\"[^\"]*\"|\{\{.*?\}\}|\$\{[^{}]*\}|[\w.\[\]-]+(?:\.?\$\{[^{}]*\})?)"
_WITH_FILTER = re.compile(rf"({_OPERAND})((?:\s*\|(?!\|)\s*\w+(?:\s*:\s*{_OPERAND}(?:\s*,\s*{_OPERAND})*)?)+)")
_ARITHMETIC = {"+": "plus", "-": "minus", "*": "times", "/": "divided_by", "%": "modulo"}
_TERNARY = re.compile(rf"\s*(.+?)\s*\?\s*({_OPERAND})\s*:\s*({_OPERAND})\s*", re.DOTALL)

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str], str, str]


def _rule(pattern: str, written: str | Callable[[re.Match[str]], str], message: str, fix: str) -> Rule:
    return re.compile(pattern), written, message, fix


_CONDITION: tuple[Rule, ...] = (
    _rule(r"&&|(?<=\s)&(?=\s)", "and", "Liquid has no {found}: write and.", "Write and"),
    _rule(r"\|\|", "or", "Liquid has no ||: write or.", "Write or"),
    _rule(r"\b(?:AND|And)\b", "and", "Liquid writes and in small letters.", "Write and"),
    _rule(r"\b(?:OR|Or)\b", "or", "Liquid writes or in small letters.", "Write or"),
    _rule(
        r"!==|(?<=\s)=!=?|(?<=\s)(?:is not|isn't|isnt|ne|neq)(?=\s)",
        "!=",
        "Liquid has no {found}: write !=.",
        "Write !=",
    ),
    _rule(
        r"===|(?<![=!<>])=(?![=<>!])|(?<=\s)(?:is(?! not| set| defined)|eq|equals|equal to|equal)(?=\s)",
        "==",
        "{found} compares nothing in Liquid: write ==.",
        "Write ==",
    ),
    _rule(r"=>", ">=", "Liquid has no =>: write >=.", "Write >="),
    _rule(r"=<", "<=", "Liquid has no =<: write <=.", "Write <="),
    _rule(r"(?<=\s)gte(?=\s)", ">=", "Liquid has no gte: write >=.", "Write >="),
    _rule(r"(?<=\s)lte(?=\s)", "<=", "Liquid has no lte: write <=.", "Write <="),
    _rule(r"(?<=\s)(?:gt|greater than)(?=\s)", ">", "Liquid has no {found}: write >.", "Write >"),
    _rule(r"(?<=\s)(?:lt|less than)(?=\s)", "<", "Liquid has no {found}: write <.", "Write <"),
    _rule(
        r"(?<=\d),(?=\d+\s*(?:$|and\b|or\b))",
        ".",
        "A number has a point, not a comma: write a point.",
        "Write a point",
    ),
    _rule(
        rf"(?:\bexists\s+)({_OPERAND})|({_OPERAND})\s+(?:exists|is set|is defined|is present)\b",
        lambda match: f"{match[1] or match[2]} != blank",
        "Liquid asks whether something is there with != blank: write {plain}.",
        "Write != blank",
    ),
    _rule(
        rf"({_OPERAND})\s+in\s+({_OPERAND})",
        lambda match: f"{match[2]} contains {match[1]}",
        "Liquid has no in: write {plain}.",
        "Write contains",
    ),
    _rule(
        rf"({_OPERAND})\s*([<>]=?)\s*({_OPERAND})\s*([<>]=?)\s*({_OPERAND})",
        lambda match: f"{match[1]} {match[2]} {match[3]} and {match[3]} {match[4]} {match[5]}",
        "Liquid compares two values at a time: write {plain}.",
        "Write two comparisons",
    ),
    _rule(
        rf"({_OPERAND})\s*(==|contains)\s*({_OPERAND})\s+or\s+('[^']*'|\"[^\"]*\"|-?\d[\d.]*)(?=\s*(?:-?$|and\b|or\b))",
        lambda match: f"{match[1]} {match[2]} {match[3]} or {match[1]} {match[2]} {match[4]}",
        "A text alone is always true, and so is this condition: write {plain}.",
        "Write the comparison again",
    ),
    _rule(
        r"(?<=\s)(?:includes|include|contain|has)(?=\s+[^\s=!<>])",
        "contains",
        "Liquid has no {found}: write contains.",
        "Write contains",
    ),
    _rule(r"\b(?:TRUE|True)\b", "true", "Liquid writes true in small letters.", "Write true"),
    _rule(r"\b(?:FALSE|False)\b", "false", "Liquid writes false in small letters.", "Write false"),
    _rule(
        r"\b(?:undefined|None|NULL|NIL|Nil)\b",
        "nil",
        "Liquid has no {found}: write nil, or blank for empty text too.",
        "Write nil",
    ),
    _rule(
        r"\s*(?:\bthen|\bdo|[:;{])\s*$",
        " ",
        "A tag ends with %}}; nothing like {found} stands before it.",
        "Take it out",
    ),
    _rule(
        r"(?<!forloop)(?<!tablerowloop)\.(?:length\b(?:\(\))?|len\b(?:\(\))?|(?:size|count)\(\))",
        ".size",
        "Liquid has no {found}: write .size.",
        "Write .size",
    ),
)


_METHOD = _rule(
    r"(?i:(?<=[\w}\]])\.(upcase|downcase|capitalize|strip|trim|to_?upper_?case|to_?lower_?case|upper|lower|escape)\b(?:\(\))?)",
    lambda match: f" | {_right_filter(match[1])}",
    "What {found} does, a filter does in Liquid: write{plain}.",
    "Write it as a filter",
)


def examine_condition(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    """Look at what stands in an ``if``, ``unless`` or ``elsif``."""
    inner, at = markup.inner, markup.at
    code = without_quoted(inner)
    if not inner.strip(" -"):
        name = next(iter(sorted(names)), "product")
        draft.note(
            "condition",
            markup.start,
            f"{markup.name} has no condition: write one, such as {{% {markup.name} {name}.found %}}.",
            "Write a condition",
            Edit(at, at, f" {name}.found "),
        )
        return
    if _quotes(draft, markup) or _not_contains(draft, markup, code):
        return
    for rule in _CONDITION:
        _apply(draft, rule, code, inner, at)
    for quoted in re.finditer(r"(==|!=|<=?|>=?)\s*((['\"])(true|false|nil|null|\d+(?:\.\d+)?)\3)", inner):
        is_number = quoted[4][0].isdigit()
        if is_number and quoted[1] in ("==", "!="):
            continue  # a text such as a size may well be '42'
        what = "can't be compared as a number" if is_number else "is a text, which the value never is"
        draft.note(
            "condition",
            at + quoted.start(2),
            f"{quoted[2]} in quotes {what}: write {quoted[4]}.",
            f"Write {quoted[4]}",
            Edit(at + quoted.start(2), at + quoted.end(2), quoted[4]),
        )
    _text_as_number(draft, code, at)
    _negation(draft, markup, code)
    _brackets(draft, markup, code)
    for pattern in (r"^(\s*)(==|!=|<=?|>=?|contains\b)", r"(==|!=|<=?|>=?|(?<=\s)contains)(\s*)$"):
        if (match := re.search(pattern, code.rstrip(" -") + " ")) and match.group().strip():
            operator = match.group().strip()
            draft.note(
                "condition",
                at + match.start(),
                f"{operator} has nothing to compare with on one side: write a value there, or leave {operator} out.",
                f"Leave {operator} out",
                Edit(at + match.start(), min(at + match.end(), at + len(inner)), " "),
            )
    _filters_in_condition(draft, markup, code)
    examine_names(draft, markup, names)


def _text_as_number(draft: Draft, code: str, at: int) -> None:
    for match in re.finditer(r"\.(average|total|date|trust_score)_text\s*(?:==|!=|[<>]=?)\s*[\d.]+", code):
        right = "created_at" if match[1] == "date" else match[1]
        start = at + match.start() + 1
        draft.note(
            "condition",
            start,
            f"{match[1]}_text is a text for reading, and can't be compared with a number: write {right}.",
            f"Write {right}",
            Edit(start, start + len(match[1]) + 5, right),
        )


_NOT_CONTAINS = re.compile(r"\s+(?:not\s+contains?|!\s*contains?|does(?:n't| not)\s+contain)\s+")


def _not_contains(draft: Draft, markup: Markup, code: str) -> bool:
    """Turn ``if a not contains b`` into an ``unless``; tell whether there was one."""
    match = _NOT_CONTAINS.search(code)
    if match is None:
        return False
    found = match.group().strip()
    message = f"Liquid has no {found}: write {{% unless … contains … %}}."
    is_alone = markup.name == "if" and not re.search(r"\s(?:and|or)\s", code)
    end = _closing(draft, markup) if is_alone else None
    if end is None:
        draft.note("condition", markup.at + match.start(), f"{message} In a tag of its own, within this one.")
        return True
    name = draft.text.index("if", markup.start)
    close = draft.text.index("endif", end.start)
    edits = Edit(name, name + 2, "unless"), Edit(markup.at + match.start(), markup.at + match.end(), " contains ")
    draft.note("condition", markup.start, message, "Write unless", *edits, Edit(close, close + 5, "endunless"))
    return True


def _closing(draft: Draft, markup: Markup) -> Markup | None:
    """Return the tag that closes an ``if``."""
    depth = 0
    for other in markups(draft.text):
        if other.start >= markup.start:
            depth += (other.name == "if") - (other.name == "endif")
            if depth == 0:
                return other
    return None


def _negation(draft: Draft, markup: Markup, code: str) -> None:
    for match in re.finditer(
        rf"(?:(?<!=)!(?![=])\s*|(?:(?<=\s)|^)(?<!is )not\s+)({_OPERAND})(\s*(?:==|contains)\s*{_OPERAND})?", code
    ):
        start, end = markup.at + match.start(), markup.at + match.end()
        operand = markup.inner[match.start(1) : match.end(1)]
        if match[2]:
            rest = markup.inner[match.start(2) : match.end(2)]
            if "contains" in rest:
                message = "Liquid has no not, and contains can't be turned round: use {% unless … contains … %}."
                draft.note("condition", start, message)
                continue
            written = f"{operand}{rest.replace('==', '!=')}"
        else:
            written = f"{operand} != true" if re.search(r"\.(found|truncated)$", operand) else f"{operand} == blank"
        draft.note(
            "condition",
            start,
            f"Liquid has no {match.group().split(operand)[0].strip()} to negate with: write {written}, "
            "or use unless.",
            f"Write {written}",
            Edit(start, end, written),
        )


def _brackets(draft: Draft, markup: Markup, code: str) -> None:
    if "(" not in code:
        return
    inside = code.strip(" -")
    start = markup.at + code.index("(")
    if inside.startswith("(") and inside.endswith(")") and inside.count("(") == 1:
        end = markup.at + code.rindex(")")
        pair = Edit(start, start + 1, " "), Edit(end, end + 1, " ")
        draft.note(
            "condition",
            start,
            "Conditions take no brackets in Liquid: leave them out.",
            "Take the brackets off",
            *pair,
        )
    elif call := re.search(rf"\.(?:includes|contains|include)\(\s*({_OPERAND})\s*\)", markup.inner):
        begin = markup.at + call.start()
        draft.note(
            "condition",
            begin,
            f"Liquid calls nothing with brackets: write contains {call[1]}.",
            "Write contains",
            Edit(begin, markup.at + call.end(), f" contains {call[1]}"),
        )
    else:
        edits = tuple(Edit(markup.at + m.start(), markup.at + m.end(), " ") for m in re.finditer(r"[()]", code))
        message = (
            "Conditions take no brackets in Liquid: they are read from right to left; put one "
            "{% if %} into another where that matters."
        )
        draft.note("condition", start, message, "Take the brackets off", *edits)


def _filters_in_condition(draft: Draft, markup: Markup, code: str) -> None:
    if not re.search(r"(?<!\|)\|(?!\|)", code):
        return
    edits: list[Edit] = []
    before: list[str] = []
    for number, match in enumerate(_WITH_FILTER.finditer(markup.inner), 1):
        name = f"checked_{markup.start}_{number}" if number > 1 else f"checked_{markup.start}"
        before.append(f"{{% assign {name} = {match[1]}{match[2].rstrip()} %}}")
        edits.append(Edit(markup.at + match.start(), markup.at + match.end(), name))
    message = "A condition takes no filters: assign the value first and compare that."
    if markup.name != "elsif" and edits:
        message = f"A condition takes no filters: assign the value first, {before[0]}, and compare that."
        edits.insert(0, Edit(markup.start, markup.start, "".join(before)))
        draft.note("condition", markup.start, message, "Assign it first", *edits)
    else:
        opened = _opening(draft.text, markup)
        if edits and opened is not None:
            edits.insert(0, Edit(opened, opened, "".join(before)))
        draft.note("condition", markup.start, message, "Assign it first", *edits)


def numbers_first(template: str, markup: Markup) -> tuple[str, tuple[Edit, ...]]:
    """Return the fix that makes numbers of the texts that a condition compares with numbers."""
    edits: list[Edit] = []
    before = ""
    for match in re.finditer(rf"({_OPERAND})(\s*[<>]=?\s*)({_OPERAND})", markup.inner):
        for group in (1, 3):
            if re.match(r"-?\d", match[group]):
                continue
            name = f"number_{markup.start + match.start(group)}"
            before += f"{{% assign {name} = {match[group]} | plus: 0 %}}"
            edits.append(Edit(markup.at + match.start(group), markup.at + match.end(group), name))
    at = markup.start if markup.name != "elsif" else _opening(template, markup)
    if not edits or at is None:
        return "", ()
    return "Make a number of it first", (Edit(at, at, before), *edits)


def _opening(template: str, markup: Markup) -> int | None:
    """Return where the ``if`` begins that an ``elsif`` belongs to."""
    opened: list[int] = []
    for other in markups(template):
        if other.start >= markup.start:
            break
        if other.name in ("if", "unless"):
            opened.append(other.start)
        elif other.name in ("endif", "endunless") and opened:
            opened.pop()
    return opened[-1] if opened else None


def examine_loop(draft: Draft, markup: Markup) -> None:
    """Look at what stands in a ``for``."""
    inner, at = markup.inner, markup.at
    code = without_quoted(inner)
    end = at + len(inner.rstrip(" -"))
    stripped = inner.strip(" -")
    forms = (
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
    for pattern, written in forms:
        if match := re.fullmatch(pattern, stripped):
            right = match.expand(written)
            draft.note(
                "loop",
                markup.start,
                f"A loop is written {{% for {right} %}}.",
                f"Write for {right}",
                Edit(at, end, f" {right}"),
            )
            return
    late = re.search(r"(?:limit|offset)\s*:.*?(\s+reversed\b)", code)
    if late and (listed := re.match(r"\s*[\w-]+\s+in\s+\S+", code)):
        edits = (
            Edit(at + listed.end(), at + listed.end(), " reversed"),
            Edit(at + late.start(1), at + late.end(1), ""),
        )
        message = "reversed stands right behind the list, and is overlooked here: move it there."
        draft.note("loop", at + late.start(1), message, "Move reversed", *edits)
    for match in re.finditer(r"\b(limit|offset|cols)(\s*=\s*|\s+)(?=[\w{])", code):
        draft.note(
            "loop",
            at + match.start(),
            f"{match[1]} takes a colon: write {match[1]}:{code[match.end() :].split()[0]}.",
            f"Write {match[1]}:",
            Edit(at + match.start(), at + match.end(), f"{match[1]}:"),
        )
    piped = re.fullmatch(r"([\w-]+)\s+in\s+([^|]+\|.+)", stripped)
    if piped and "|" in code:
        before = f"{{% assign looped_{markup.start} = {piped[2].strip()} %}}"
        message = f"A loop takes no filters: assign the list first, {before}, and loop over that."
        edits = Edit(markup.start, markup.start, before), Edit(at, end, f" {piped[1]} in looped_{markup.start}")
        draft.note("loop", markup.start, message, "Assign it first", *edits)


def examine_assignment(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    """Look at what stands in an ``assign``."""
    inner, at = markup.inner, markup.at
    if markup.name == "assign":
        braced = re.match(r"\s*(\$\{?\s*(\w+)\s*\}?|\{\{?\s*\$?\{?(\w+)\s*\}+)\s*=", inner)
        if braced:
            name = braced[2] or braced[3]
            message = f"assign takes a plain name, not {braced[1]}: write {name}."
            edit = Edit(at + braced.start(1), at + braced.end(1), name)
            draft.note("assignment", at, message, f"Write {name}", edit)
        wrong = re.match(r"\s*(\w+)(\s*(?:===?|:=|:|<-)\s*|\s+(?=['\"\d]))", inner)
        if wrong:
            start, end = at + wrong.start(2), at + wrong.end(2)
            said = wrong[2].strip() or "nothing"
            draft.note(
                "assignment",
                start,
                f"assign takes one =, found {said}: write {wrong[1]} = ….",
                "Write =",
                Edit(start, end, " = "),
            )
            return
        spaced = re.match(r"\s*(\w+(?:\s+\w+)+)\s*=(?!=)", inner)
        if spaced:
            name = re.sub(r"\s+", "_", spaced[1])
            draft.note(
                "assignment",
                at,
                f"The name of a variable has no spaces: write {name}.",
                f"Write {name}",
                Edit(at + spaced.start(1), at + spaced.end(1), name),
            )
            return
        if _made(draft, markup):
            return
        equals = inner.find("=")
        markup = Markup(markup.name, markup.start, markup.end, inner[equals + 1 :], at + equals + 1)
    examine_value(draft, markup, names)


def _made(draft: Draft, markup: Markup) -> bool:
    """Tell whether an ``assign`` makes what Liquid makes in another way, having noted it."""
    match = re.fullmatch(r"\s*(\w+)\s*=\s*(.+?)\s*-?", markup.inner, re.DOTALL)
    if match is None:
        return False
    name, value = match[1], match[2]
    code = without_quoted(value)
    written = ""
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
        written = (
            f"{{% if {value} %}}{{% assign {name} = true %}}{{% else %}}{{% assign {name} = false %}}{{% endif %}}"
        )
        said = "assign compares nothing"
    elif parts := re.fullmatch(rf"({_OPERAND})\s+\.\s+({_OPERAND})", value):
        written = f"{{% assign {name} = {parts[1]} | append: {parts[2]} %}}"
        said = "Liquid joins texts with a filter"
    if not written:
        return False
    edit = Edit(markup.start, markup.end, written)
    draft.note("assignment", markup.start, f"{said}: write {written}.", "Write it so", edit)
    return True


def examine_word(draft: Draft, markup: Markup) -> None:
    """Look at what stands in a ``capture``, a ``case`` or a ``when``."""
    pattern, said = {
        "capture": (r"(?<=\w)\s*=.*", "capture takes a name alone"),
        "case": (r"\s*:\s*$", "A tag ends with %}"),
        "when": (r"^\s*(?:==|=)|\s*:\s*$", "when takes the value alone"),
    }[markup.name]
    inner = markup.inner.rstrip(" -")
    if match := re.search(pattern, inner, re.DOTALL):
        at = markup.at + match.start()
        message = f"{said}: take {match.group().strip()} out."
        draft.note("assignment", at, message, "Take it out", Edit(at, markup.at + match.end(), ""))


_BRACES: tuple[Rule, ...] = (
    _rule(
        r"\{\{\s*((?:\w+\.)*\$\{[^{}]*\}[\w.\[\]]*|[\w.\[\]]+)\s*(?:\}(?!\})|\)\)|\]\]|\}\}\}+)",
        lambda match: f"{{{{{match[1]}}}}}",
        "The braces of {found} do not match: write {plain}.",
        "Write matching braces",
    ),
    _rule(
        r"(?<![{$])\{\s*((?:\w+\.)*\$\{[^{}]*\})\s*\}(?!\})",
        lambda match: f"{{{{{match[1]}}}}}",
        "{found} has single braces: write {plain}.",
        "Write two braces",
    ),
)
_FILTER_IN_NAME = _rule(
    r"\$\{\s*([^{}|]+?)\s*\|\s*([^{}]+?)\s*\}",
    lambda match: f"${{{match[1]}}} | {match[2]}",
    "A filter stands after the name’s braces, or Braze takes it for a part of the name: write {plain}.",
    "Move the filter out",
)
_HAS_VALUES = ("", "if", "unless", "elsif", "case", "when", "for", "tablerow", "assign", "echo")


def examine_braces(draft: Draft, markup: Markup) -> None:
    """Look for braces that don't match within a tag, and for filters within ``${}``."""
    if markup.name not in _HAS_VALUES:
        return
    code = without_quoted(markup.inner)
    for rule in () if markup.is_output else _BRACES:
        _apply(draft, rule, code, markup.inner, markup.at, "braces")
    _apply(draft, _FILTER_IN_NAME, markup.inner, markup.inner, markup.at, "braces")


def examine_output(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    """Look at what stands in ``{{ }}``."""
    if not markup.inner.strip(" -"):
        draft.note(
            "output",
            markup.start,
            "{{ }} has nothing in it: take it out, or write what to print.",
            "Take it out",
            Edit(markup.start, markup.end, ""),
        )
        return
    ternary = _TERNARY.fullmatch(markup.inner)
    if ternary and "?" in without_quoted(markup.inner):
        yes, no = (value[1:-1] if value[0] in "'\"" else f"{{{{ {value} }}}}" for value in (ternary[2], ternary[3]))
        written = f"{{% if {ternary[1]} %}}{yes}{{% else %}}{no}{{% endif %}}"
        draft.note(
            "output",
            markup.start,
            f"Liquid has no ? and :, write {written}.",
            "Write it with if",
            Edit(markup.start, markup.end, written),
        )
        return
    words = re.fullmatch(r"\s*([A-Za-z]+(?: [A-Za-z]+)+)\s*(\|.*)?-?", markup.inner, re.DOTALL)
    if words and not set(words[1].split()[1:]) & {*FILTERS, "or", "and", "contains"}:
        name = words[1].lower().replace(" ", "_")
        message = f"{words[1]} has a space, and no braces of its own: write ${{{name}}}."
        edit = Edit(markup.at + words.start(1), markup.at + words.end(1), f"${{{name}}}")
        draft.note("name", markup.start, message, f"Write ${{{name}}}", edit)
        return
    examine_value(draft, markup, names)


def examine_value(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    """Look at a value and its filters."""
    inner, at = markup.inner, markup.at
    if _quotes(draft, markup):
        return
    code = without_quoted(inner)
    either = re.search(rf"\s*(?:\|\|(?!\s*\w+\s*:)|\?\?|(?<=\s)or(?=\s))\s*({_OPERAND})\s*$", inner)
    if either and re.search(r"\|\||\?\?|\sor\s", code) and "default" not in code:
        start, end = at + either.start(), at + either.end()
        written = f" | default: {either[1]}"
        draft.note(
            "output",
            start,
            f"{{{{ }}}} takes no {either.group().split()[0]}: write{written}.",
            "Write default",
            Edit(start, end, written),
        )
        return
    for match in re.finditer(rf"\s[\\/]\s*(?=(?:{'|'.join(FILTERS)})\b)", code):
        edit = Edit(at + match.start(), at + match.end(), " | ")
        draft.note("filter", edit.start, "A filter stands after a |: write one.", "Write the |", edit)
    for match in re.finditer(r"\|\s*\|", code):
        draft.note(
            "filter",
            at + match.start(),
            "Two | stand where one belongs: write one.",
            "Write one |",
            Edit(at + match.start(), at + match.end(), "|"),
        )
    if dangling := re.search(r"\|\s*-?$", code):
        draft.note(
            "filter",
            at + dangling.start(),
            "A | has no filter after it: take it out.",
            "Take it out",
            Edit(at + dangling.start(), at + dangling.start() + 1, ""),
        )
    sums = re.fullmatch(rf"\s*({_OPERAND})\s*([+*/%]|(?<=\s)-(?=\s))\s*({_OPERAND})\s*(\|.*)?", inner, re.DOTALL)
    if sums:
        is_text = "'" in sums[1] + sums[3] or '"' in sums[1] + sums[3]
        name = "append" if sums[2] == "+" and is_text else _ARITHMETIC[sums[2]]
        written = f" {sums[1]} | {name}: {sums[3]} {sums[4] or ''}"
        draft.note(
            "output",
            at,
            f"Liquid does not reckon with {sums[2]}: write{written.rstrip()}.",
            f"Write {name}",
            Edit(at, at + len(inner), written),
        )
        return
    _filters(draft, markup, code, names)
    examine_names(draft, markup, names)


def _quotes(draft: Draft, markup: Markup) -> bool:
    """Tell whether a quote is left open, having noted it."""
    inner, at = markup.inner, markup.at
    inside = re.search(r"'([^'\"|]*\w)'(\w[^'\"|]*)'", inner)
    if inside:
        written = f'"{inside[1]}\'{inside[2]}"'
        draft.note(
            "quotes",
            at + inside.start(),
            f"The apostrophe ends the text too early: write {written}.",
            "Write double quotes",
            Edit(at + inside.start(), at + inside.end(), written),
        )
        return True
    mixed = re.search(r"(['\"])([^'\"|]*)(['\"])(?=\s*-?$)", inner)
    if mixed and mixed[1] != mixed[3] and inner.count("'") == inner.count('"') == 1:
        message = f"A text opened with {mixed[1]} is closed with {mixed[3]}: write {mixed[1]}{mixed[2]}{mixed[1]}."
        edit = Edit(at + mixed.start(3), at + mixed.end(3), mixed[1])
        draft.note("quotes", edit.start, message, f"Write {mixed[1]} at both ends", edit)
        return True
    rest = re.sub(r"'[^']*'|\"[^\"]*\"", "", inner)
    for quote in "'\"":
        if quote in rest:
            end = at + len(inner.rstrip(" -"))
            other = "'" if quote == '"' else '"'
            if inner.rstrip(" -")[-1:] == other:
                edit = Edit(end - 1, end, quote)
            elif re.match(r"[\w !?.,-]+" + quote, inner.partition(":")[2].strip()):
                start = (
                    at + inner.index(":") + 1 + len(inner.partition(":")[2]) - len(inner.partition(":")[2].lstrip())
                )
                edit = Edit(start, start, quote)
            else:
                edit = Edit(end, end, quote)
            draft.note(
                "quotes",
                edit.start,
                f"A text opened with {quote} is not closed: write {quote} at both ends.",
                f"Write the missing {quote}",
                edit,
            )
            return True
    return False


def _filters(draft: Draft, markup: Markup, code: str, names: frozenset[str]) -> None:
    inner, at = markup.inner, markup.at
    pieces = list(re.finditer(r"[^|]+", code))
    if not pieces:
        return
    value = pieces[0]
    unpiped = re.match(r"\s*\S+\s+(\w+)\s*(?::|$)", value.group())
    if unpiped and (unpiped[1] in FILTERS or _right_filter(unpiped[1])):
        start = at + value.start() + unpiped.start(1)
        draft.note(
            "filter",
            start,
            f"A filter stands after a |: write | {unpiped[1]}.",
            "Write the |",
            Edit(start, start, "| "),
        )
        return
    for piece in pieces[1:]:
        named = re.match(r"\s*([A-Za-z_][\w-]*)\s*", piece.group())
        if named is None:
            continue
        start, end = at + piece.start() + named.start(1), at + piece.start() + named.end(1)
        name, rest = named[1], piece.group()[named.end() :]
        right = "" if name in FILTERS else _right_filter(name)
        if name not in FILTERS:
            if not right:
                nearest = get_close_matches(name.lower(), FILTERS, 1, 0.5)
                hint = f"the nearest is {nearest[0]}" if nearest else "Braze’s page “Filters” lists them"
                draft.note(
                    "filter",
                    start,
                    f"Braze has no filter {name}; {hint}.",
                    "Take it out",
                    Edit(at + piece.start() - 1, at + piece.end(), " "),
                )
                continue
            draft.note(
                "filter",
                start,
                f"Braze has no filter {name}; it is {right}.",
                f"Write {right}",
                Edit(start, end, right),
            )
        _argument(
            draft, right or name, rest, end, at + piece.end(), names, inner[piece.start() + named.end() : piece.end()]
        )


def _argument(draft: Draft, name: str, rest: str, start: int, end: int, names: frozenset[str], written: str) -> None:
    """Look at what follows a filter's name; ``rest`` is ``written`` with what is in quotes blanked out."""
    begin = end - len(rest)
    if rest[:1] in ("=", "("):
        right = written[1:].strip().removesuffix(")") if rest[0] == "(" else written[1:].strip()
        right = f": {right} " if right else " "
        draft.note(
            "filter",
            start,
            f"What a filter takes stands after a colon: write {name}{right.rstrip()}.",
            "Write the colon",
            Edit(start, end, right),
        )
        return
    if (rest[:1] and rest[0] in "'\"") or re.match(r"\d", rest):
        draft.note(
            "filter",
            start,
            f"What a filter takes stands after a colon: write {name}: {written.strip()}.",
            "Write the colon",
            Edit(start, begin, ": "),
        )
        return
    if name == "date" and _date_format(draft, rest, written, begin):
        return
    if (example := _TAKES.get(name)) and not rest.strip(" :-"):
        edit = Edit(start, end, f": {example} ")
        draft.note(
            "filter", start, f"{name} needs a value: write {name}: {example}.", f"Write {name}: {example}", edit
        )
        return
    if name == "default" and not rest.strip(" :-"):
        draft.note(
            "filter",
            start,
            "default says nothing to print instead: write default: 'there'.",
            "Write default: 'there'",
            Edit(start, end, ": 'there' "),
        )
        return
    bare = re.fullmatch(r":\s*([A-Za-z][A-Za-z ]*?)\s*-?", rest)
    if name == "default" and bare and bare[1] not in names and bare[1] not in _KNOWN:
        value = begin + bare.start(1)
        draft.note(
            "filter",
            value,
            f"{bare[1]} without quotes is the name of a variable that nothing sets: write '{bare[1]}'.",
            "Write it in quotes",
            Edit(value, value + len(bare[1]), f"'{bare[1]}'"),
        )
    if gap := re.search(
        r"(?<=['\"])\s+(?=['\"])", re.sub(r"(['\"])\s*\1", lambda m: m[1] + "x" * (len(m.group()) - 2) + m[1], rest)
    ):
        draft.note(
            "filter",
            begin + gap.start(),
            "A comma stands between what a filter takes: write one.",
            "Write the comma",
            Edit(begin + gap.start(), begin + gap.end(), ", "),
        )


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
}
_DATE_WORDS = {
    "yyyy": "%Y",
    "yy": "%y",
    "mmmm": "%B",
    "mmm": "%b",
    "mm": "%m",
    "dddd": "%A",
    "ddd": "%a",
    "dd": "%d",
    "hh": "%H",
    "d": "%-d",
    "m": "%-m",
}


def _date_format(draft: Draft, rest: str, written: str, begin: int) -> bool:
    """Tell whether a date's format is another language's, having noted it."""
    bare = re.fullmatch(r"\s*:\s*(%[^'\"|]*?)\s*-?", rest)
    quoted = re.fullmatch(r"\s*:\s*(['\"])(.*)\1\s*-?", written, re.DOTALL)
    if bare:
        start, end, right = begin + bare.start(1), begin + bare.end(1), f"'{bare[1]}'"
        message = f"The format stands in quotes: write {right}."
    elif quoted and "%" not in quoted[2] and re.search(r"yy|dd|mm", quoted[2], re.IGNORECASE):
        start, end = begin + quoted.start(2), begin + quoted.end(2)
        right = re.sub(
            r"y{4}|y{2}|m{1,4}|d{1,4}|h{2}", lambda m: _DATE_WORDS[m.group().lower()], quoted[2], flags=re.IGNORECASE
        )
        message = (
            f"Customers would read {quoted[2]} as it stands; Liquid writes a date’s parts with %: write {right}."
        )
    elif quoted and re.search(r"%M", quoted[2]) and not re.search(r"%-?[HIklsTRrXc]", quoted[2]):
        start, end, right = begin + quoted.start(2), begin + quoted.end(2), quoted[2].replace("%M", "%m")
        message = f"%M is the minute, not the month: write {right}."
    else:
        return False
    draft.note("filter", start, message, f"Write {right}", Edit(start, end, right))
    return True


def _right_filter(name: str) -> str:
    plain = name.lower().replace("-", "_")
    if plain in FILTERS:
        return plain
    if plain in _OTHER_FILTERS:
        return _OTHER_FILTERS[plain]
    nearest = get_close_matches(plain, FILTERS, 1, 0.8)
    return nearest[0] if nearest else ""


def examine_names(draft: Draft, markup: Markup, names: frozenset[str]) -> None:
    """Look at how values are called: Braze's ``${name}``, its namespaces, and an answer's lists."""
    inner, at = markup.inner, markup.at
    code = without_quoted(inner)
    rules: tuple[Rule, ...] = (
        _rule(
            r"\$(?=[A-Za-z_])(\w+)(?:\}(?=\}\}|\s*$))?",
            lambda m: m[1] if re.search(rf"assign\s+\$?{m[1]}\s*=", draft.text) else f"${{{m[1]}}}",
            "The name after a $ stands in braces: write {plain}.",
            "Write the braces",
        ),
        _rule(
            r"(?<=\w)\{(\d+)\}",
            lambda m: f"[{m[1]}]",
            "An item of a list is written with its number in brackets: {plain}.",
            "Write brackets",
        ),
        _rule(
            r"(?<=\bforloop\.)(?:idx|i|counter|count|number|position)\b",
            "index",
            "forloop has no {found}: write forloop.index.",
            "Write index",
        ),
        _rule(r"[$#]\s+\{|#\{", "${", "$ and {{ belong together: write ${{.", "Write ${"),
        _rule(
            r"(?<![{$\w])\{(?![{%])\s*(\w+)\s*\}(?!\})",
            lambda m: f"${{{m[1]}}}",
            "A $ is missing before {found}: write {plain}.",
            "Write the $",
        ),
        _rule(
            r"\$\{([^{}]*)$",
            lambda m: f"${{{m[1].rstrip()}}}",
            "{found} has no closing brace: write {plain}.",
            "Close the brace",
        ),
        _rule(r"->", ".", "Liquid has no ->: write a dot.", "Write a dot"),
        _rule(
            r"(?<!\d)\.(\d+)(?=\.|\s|$|\|)",
            lambda m: f"[{m[1]}]",
            "An item of a list is written with its number in brackets: {plain}.",
            "Write brackets",
        ),
        _rule(
            r"\.\[(\d+)\]",
            lambda m: f"[{m[1]}]",
            "No dot stands before a bracket: write {plain}.",
            "Take the dot out",
        ),
        _rule(
            r"(?<=\w)\((\d+)\)",
            lambda m: f"[{m[1]}]",
            "An item of a list is written with its number in brackets: {plain}.",
            "Write brackets",
        ),
    )
    if markup.name in ("if", "unless", "elsif"):
        rules = tuple(rule for rule in rules if r"\.(\d+)" not in rule[0].pattern)  # 4.5 is a number there
    for rule in (*rules, _METHOD) if markup.is_output else rules:
        # What stands in brackets behind a filter is what it takes.
        is_call = r"\((\d+)" in rule[0].pattern
        _apply(draft, rule, code.partition("|")[0] if is_call else code, inner, at, "name")
    if markup.name not in ("if", "unless", "elsif"):
        _apply(draft, _CONDITION[-1], code, inner, at, "name")
    for match in re.finditer(rf"(?<![\w.$])({'|'.join(_BRACED)})(?:\.(\w+)|\[(?:'([^']+)'|\"([^\"]+)\")\])", inner):
        name = match[2] or match[3] or match[4]
        if match[1] in names or not code[match.start() : match.start() + 1].strip():
            continue
        right = f"{match[1]}.${{{name}}}"
        start, end = at + match.start(), at + match.end()
        message = f"Braze reads {match.group()} with a dollar and braces: write {right}."
        draft.note("name", start, message, f"Write {right}", Edit(start, end, right))
    for match in re.finditer(r"(?<![\w.$])(\w+(?:\.\w+)*)\.(?=\$\{)", code):
        name = match[1]
        if name.split(".")[0] in names or name in _NAMESPACES or name in _BRACED:
            continue
        nearest = get_close_matches(name.lower().replace(".", "_"), _BRACED, 1, 0.7)
        right = nearest[0] if nearest else "event_properties" if "propert" in name.lower() else ""
        if right:
            edit = Edit(at + match.start(1), at + match.end(1), right)
            draft.note("name", edit.start, f"Braze has no {name}: write {right}.${{…}}.", f"Write {right}", edit)
    for match in re.finditer(r"(?<![\w.$])(\w+)\.(?=\$\{|\w)", code):
        name = match[1]
        if name in names or name not in _NAMESPACES:
            continue
        right = _NAMESPACES[name]
        braced = code[match.end() : match.end() + 2] == "${"
        value = re.match(r"\w+", code[match.end() :])
        start, end = at + match.start(), at + match.end()
        if not braced and value:
            end += value.end()
            plain = _PERSONAL.get(value[0].lower().replace("_", ""), value[0])
            written = f"{right}.${{{value[0]}}}" if right else f"${{{plain}}}"
        else:
            written = f"{right}." if right else ""
        shown = (f"{written}${{…}}" if written else "${…} alone") if braced else written
        draft.note("name", start, f"Braze has no {name}: write {shown}.", f"Write {shown}", Edit(start, end, written))


def _apply(draft: Draft, rule: Rule, code: str, inner: str, at: int, kind: str = "condition") -> None:
    pattern, make, message, fix = rule
    found = list(pattern.finditer(code))
    if not found:
        return
    edits = []
    for match in found:
        # What stands in quotes is blank in the code, and is written again.
        plain = make if isinstance(make, str) else make(pattern.match(inner, match.start()) or match)
        edits.append(Edit(at + match.start(), at + match.end(), plain))
    first = inner[found[0].start() : found[0].end()].strip()
    draft.note(kind, edits[0].start, message.format(found=first, plain=edits[0].text), fix, *edits)
