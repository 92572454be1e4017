"""The edits that put right what rendering brought to light: what a call came to, and what came up empty."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from typing import Any, NamedTuple
from urllib.parse import quote

from proxy.preview.braze import Empty, line_of
from proxy.preview.calls import CallTag, call_tags, covered
from proxy.preview.findings import (
    MEANT,
    Edit,
    Finding,
    Markup,
    found,
    markups,
    names_set,
    personal,
)

PARAMETERS = (
    *("sku", "skus", "product_url", "stars", "language", "limit", "sort", "min_chars", "max_chars", "max_age_days"),
    *("with_image", "min_reviews", "min_average", "fallback", "imported", "format", "display_locale", "locale"),
    *("business_unit", "on_error", "style", "channel", "page", "perPage"),
)
_PATHS = ("/v1/reviews", "/v1/products", "/v1/summary", "/v1/business", "/v1/fragment")
_RANGES = {
    "limit": (1, 20),
    "min_chars": (0, 2000),
    "max_chars": (20, 2000),
    "max_age_days": (1, 3650),
    "min_average": (1, 5),
}
_CHOICES = {
    "sort": ("high|best|rating|star|desc", "highest", "newest"),
    "format": ("te?xt|plain", "text", "html"),
    "on_error": ("", "empty", ""),
}
_SKU = "{{event_properties.${item_sku} | url_param_escape}}"


class _Fix(NamedTuple):
    """How a mistake is put right: the fix's name, its edits, and what is said of it behind the mistake."""

    label: str = ""
    edits: Sequence[Edit] = ()
    more: str = ""


def fixed(kind: str, line: int, message: str, template: str, host: str) -> Finding:
    """Return a mistake that the rendering tells of, with the edits that put it right where there are any."""
    tag = next((tag for tag in call_tags(template) if tag.line == line), None)
    if kind == "unescaped-text":
        fix = _escaping(tag, message, template)
    elif kind in ("compared", "whole-list"):
        fix = _by_value(kind, line, message, template)
    else:
        fix = _of_call(kind, tag, message, template, host) if tag else _Fix()
    return Finding(kind, line, f"{message}{fix.more}", fix.label, tuple(fix.edits))


def _on_line(template: str, line: int) -> list[Markup]:
    return [m for m in markups(template) if line_of(template, m.start) <= line <= line_of(template, m.end)]


def _by_value(kind: str, line: int, message: str, template: str) -> _Fix:
    """Return the edits for a value that is a list, a number or a yes where a text was expected."""
    name = message.partition(" is ")[0]
    for markup in _on_line(template, line):
        if kind == "whole-list" and markup.is_output and name in markup.inner:
            return _Fix("Add | join: ', '", [markup.adding(" | join: ', '")])
        sides = re.search(rf"({re.escape(name)}\}}*)(\s*)(==|!=)\s*((['\"])(.*?)\5)", markup.inner)
        if kind == "compared" and sides:
            if "is a list" in message:
                written = "contains" if sides[2] else " contains"
                return _Fix("Write contains", [markup.edit(sides.span(3), written)]) if sides[3] == "==" else _Fix()
            is_no = sides[6].lower() in ("no", "false", "nein", "0")
            right = ("false" if is_no else "true") if "true or false" in message else sides[6]
            return _Fix(f"Write {right}", [markup.edit(sides.span(4), right)])
    return _Fix()


def _of_call(kind: str, tag: CallTag, message: str, template: str, host: str) -> _Fix:
    match kind:
        case "missing-save":
            named = re.search(r"add :save (\w+)", message)
            name = named[1] if named else "product"
            return _Fix(f"Add :save {name}", [tag.with_option("save", name)])
        case "ignored-parameters":
            return _ignored(tag, message)
        case "cache-age" if used := re.search(r"becomes (\d+)", message):
            return _Fix("Write it", [tag.with_option("cache_max_age", used[1])], f" Write {used[1]}.")
        case "abort-before-retry" | "retry-not-available":
            return _Fix("Leave :retry out", [tag.without_option("retry")])
        case "port" if port := re.search(r"(?<=\w):\d+(?=/|$)", tag.url):
            return _Fix("Leave the port out", [tag.in_url(port.span(), "")], " Leave it out.")
        case "not-json":
            more = " Leave :save out to print it in place of the tag."
            return _Fix("Leave :save out", [tag.without_option("save")], more)
        case "url-characters":
            return _escaped(tag)
        case "empty-parameter":
            return _stopped(tag, message, template)
        case "not-sent":
            return _moved(tag, message, host)
        case "problem":
            return _refused(tag, message)
    return _Fix()


def _ignored(tag: CallTag, message: str) -> _Fix:
    edits, said = [], []
    for name in (name.strip(" .") for name in message.rpartition(":")[2].split(",")):
        nearest = get_close_matches(name.lower(), [p.lower() for p in PARAMETERS], 1, 0.6)
        right = next((p for p in PARAMETERS if nearest and p.lower() == nearest[0]), "")
        renamed = tag.renamed(name, right) if right and tag.value(right) is None else None
        edits.append(renamed or tag.without_parameter(name))
        said.append(f"{name} is {right}" if renamed else f"take {name} out")
    return _Fix("Put it right", edits, f" Here {', '.join(said)}.")


def _escaped(tag: CallTag) -> _Fix:
    edits = [
        output.adding(" | url_param_escape")
        for _, output in tag.outputs()
        if not re.search(r"\burl_(?:param_escape|encode|escape)\b", output.inner)
    ]
    for match in re.finditer(r"[^\w\-.~:/?#\[\]@!$&'()*+,;=%]+|[^\x00-\x7f]+", covered(tag.url)):
        edits.append(tag.in_url(match.span(), quote(match.group())))
    return _Fix("Escape it", edits)


def _stopped(tag: CallTag, message: str, template: str) -> _Fix:
    expression = re.search(r"arrives empty: (\{\{.*\}\}) rendered", message)
    if expression is None:
        return _Fix(more=" Write a SKU after it, such as TRUCK-01.")
    value = expression[1][2:-2].split("|")[0].strip()
    stop = f"{{% if {{{{{value}}}}} == blank %}}{{% abort_message('no SKU') %}}{{% endif %}}"
    if stop in template:
        return _Fix()
    more = " Give it a value under Person and event, or send nothing without one."
    return _Fix("Send nothing without one", [Edit(tag.start, tag.start, stop)], more)


def _moved(tag: CallTag, message: str, host: str) -> _Fix:
    if "is not its name" in message:
        written = re.match(r"(?:https?:)?/*[^/?\s{]+", tag.url)
        if written and "/v1/" in tag.url:
            return _Fix(f"Write {host}", [tag.in_url(written.span(), host)], f" Write {host}.")
    if "start with /v1/" in message and (path := re.match(r"https?://[^/?#]+(/[^?#{]*)?", tag.url)):
        written_path = path[1] or ""
        nearest = get_close_matches(f"/v1{written_path}".replace("/v1/v2", "/v1"), _PATHS, 1, 0.5)
        if nearest:
            edit = tag.in_url((path.end() - len(written_path), path.end()), nearest[0])
            return _Fix(f"Write {nearest[0]}", [edit], f" Write {nearest[0]}.")
    if "must start with http" in message:
        return _Fix("Write the whole address", [tag.in_url((0, 0), f"{host}/" if "://" not in tag.url else "")])
    if "only reads" in message and tag.path in _PATHS:
        return _read(tag)
    more = " Take the call out of the message; invitations have their own campaign."
    return _Fix("Take the call out", [Edit(tag.start, tag.end, "")], more)


def _read(tag: CallTag) -> _Fix:
    edits = [tag.without_option("method"), tag.without_option("body")]
    return _Fix("Leave :method out", edits, " Reviews are read with GET: leave :method out.")


def _refused(tag: CallTag, message: str) -> _Fix:
    status = re.search(r"the answer is (\d+)", message)
    match status[1] if status else "":
        case "401":
            if tag.options.keys() & {"basic_auth", "auth_credentials"}:
                return _Fix(more=" Look at the credential’s name and password in Braze.")
            more = " Add :basic_auth and the name it is stored under in Braze."
            return _Fix("Add :basic_auth reviews_proxy", [tag.with_option("basic_auth", "reviews_proxy")], more)
        case "404":
            nearest = get_close_matches(tag.path, _PATHS, 1, 0.4)
            at = tag.url.find(tag.path)
            if nearest and at >= 0 and nearest[0] != tag.path:
                edit = tag.in_url((at, at + len(tag.path)), nearest[0])
                return _Fix(f"Write {nearest[0]}", [edit], f" The nearest address is {nearest[0]}.")
        case "405":
            return _read(tag)
        case "503" | "504" | "502" if tag.value("on_error") is None:
            more = " With on_error=empty the message can show something else."
            return _Fix("Add on_error=empty", [tag.with_parameter("on_error", "empty")], more)
        case "400":
            return _parameter(tag, message)
    return _Fix()


def _parameter(tag: CallTag, message: str) -> _Fix:
    refusal = re.search(r"the answer is 400: (\w+)(?: is '([^']*)'…?)?: (.*)", message, re.DOTALL)
    if refusal is None:
        return _Fix()
    name, value, takes = refusal[1], refusal[2] or "", refusal[3]
    other = re.search(r"\((\w+) is another parameter\)", takes)
    others = [other[1]] if other else []
    if takes.startswith("required"):
        alike = [name, "product_id", "id", "product"]
        others += [given for given, _ in tag.parameters() if get_close_matches(given.lower(), alike, 1, 0.6)]
    for given in others[:1]:
        if renamed := tag.renamed(given, name):
            return _Fix(f"Write {name}=", [renamed], f" Write {name}= for {given}=.")
    if takes.startswith("required"):
        return _Fix(f"Write {name}=", [tag.with_parameter(name, _SKU)], f" Write {name}={_SKU}.")
    if tag.value(name) is None or "empty SKU" in takes or "unrendered" in takes:
        return _Fix()
    if right := _right_value(name, value):
        return _Fix(f"Write {name}={right}", [tag.with_parameter(name, right)], f" Write {name}={right}.")
    return _Fix(f"Take {name} out", [tag.without_parameter(name)], f" Write another value, or take {name} out.")


def _right_value(name: str, value: str) -> str:
    if name in _RANGES and (number := re.search(r"-?\d+", value)):
        low, high = _RANGES[name]
        return str(min(max(int(number[0]), low), high))
    if name == "stars":
        digits = re.findall(r"[1-5]", value)
        if span := re.fullmatch(r"\s*([1-5])\s*(?:-|–|to|\.\.)\s*([1-5])\s*", value):
            digits = [str(star) for star in range(int(span[1]), int(span[2]) + 1)]
        elif re.search(r"[1-5]\s*\+|>=?\s*[1-5]", value) and digits:
            digits = [str(star) for star in range(int(digits[0]), 6)]
        return ",".join(dict.fromkeys(digits))
    if name == "language":
        words = re.findall(r"[a-z]+", value.lower())
        return MEANT["languages"].get(words[0], words[0][:2] if len(words) > 1 else "") if words else ""
    like, right, otherwise = _CHOICES.get(name, ("", "", ""))
    return right if re.search(like, value.lower()) else otherwise


def _escaping(tag: CallTag | None, message: str, template: str) -> _Fix:
    if tag is not None and tag.value("format") == "text":
        return _Fix("Leave format=text out", [tag.without_parameter("format")])
    path = re.search(r"\{\{([^{}]+)\}\}", message)
    whole = path[1] if path else ""
    last = re.split(r"[.\[]", whole.strip().rstrip("]"))[-1]
    edits = []
    for markup in markups(template):
        value = markup.inner.split("|")[0].strip(" -")
        if markup.is_output and (value.endswith(f".{last}") or value == whole) and "escape" not in markup.inner:
            edits.append(markup.adding(" | escape"))
    return _Fix("Add | escape", edits)


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings by line, each said once, and one alone of those that mend the same place."""
    kept: dict[tuple[int, str], Finding] = {}
    mended: set[tuple[tuple[int, int], ...]] = set()
    # What is worst about a place is told of it.
    worst = ("secret", "personal-data")
    for finding in sorted(findings, key=lambda finding: (finding.line, finding.kind not in worst)):
        places = tuple((edit.start, edit.end) for edit in finding.edits)
        if (finding.line, finding.message) not in kept and not (places and places in mended):
            kept[finding.line, finding.message] = finding
            mended.add(places)
    return list(kept.values())


# ---- What came up empty

# Braze: Supported personalization tags.
_ATTRIBUTES = (
    *("braze_id", "city", "country", "date_of_birth", "dob", "email_address", "first_name", "gender", "language"),
    *("last_name", "last_used_app_date", "most_recent_app_version", "most_recent_locale", "phone_number"),
    *("random_bucket_number", "time_zone", "user_id"),
)
_PLACE = re.compile(r"^(?!.*is null).*(?:nothing is called|has no \w|is no list|is an object|is a list|is text or a)")
_KIND = "came-up-empty"


def examine_empties(
    template: str, empties: Iterable[Empty], *, has_failed_calls: bool
) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Part what came up empty into mistakes and, as JSON, what the message provides for.

    After a call that failed its variable is empty, and all that reads it: the failure is told, not its consequences.
    """
    findings: list[Finding] = []
    rest = []
    own = names_set(template)
    saved = {tag.variable for tag in call_tags(template)} if has_failed_calls else set()
    for empty in empties:
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
    is_nobodys = empty.message.startswith("nothing is called")
    is_unknown = is_nobodys and _root(empty) not in own and not _asks_for_nothing(empty, template)
    if empty.expected and not is_unknown:
        return None
    if nearest := empty.nearest or _attribute(empty.expression, own, template):
        message = empty.message if empty.nearest else f"{empty.message.rstrip('.')}; did you mean {nearest}?"
        return Finding(_KIND, empty.line, message, *_renamed(empty, nearest, template))
    if empty.kind == "output":
        return _hole(empty, template, own, before)
    if is_unknown or (not is_nobodys and _PLACE.search(empty.message)):
        return _nowhere(empty, template)
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
            message = f"nothing is called {before.strip()}, so everybody gets the default; did you mean {nearest}?"
            yield found(template, _KIND, message, markup.edit((at, at + len(name)), nearest), at=markup.start)


def _hole(empty: Empty, template: str, own: frozenset[str], before: list[Finding]) -> Finding | None:
    """Tell of an output that prints nothing and has no default."""
    markup = _markup(empty, template)
    if markup is None or not markup.is_output or re.search(r"\|\s*default\b", markup.code):
        return None
    hole = f"{empty.message.rstrip('.')}, and the message has a hole there"
    if braced := re.fullmatch(r"(?:\w+\.)?\$\{([^{}]+)\}", empty.expression):
        default = f"default: '{'there' if 'name' in braced[1] else '…'}'"
        at = markup.inner.index("}", markup.inner.index("${")) + 1
        message = f"{hole}. Say what stands in its place: | {default}."
        return Finding(_KIND, empty.line, message, f"Write {default}", (markup.edit((at, at), f" | {default}"),))
    if late := _set_later(empty, markup, template, before):
        return late
    name = empty.expression
    if re.fullmatch(r"\w+", name) and empty.message.startswith("nothing is called") and name not in own:
        right = f"event_properties.${{{name}}}"
        at = markup.inner.index(name)
        message = f"nothing is called {name}, and the message has a hole there: Braze’s values are written ${{…}}, "
        message += f"custom_attribute.${{…}} or {right}."
        return Finding(_KIND, empty.line, message, f"Write {right}", (markup.edit((at, at + len(name)), right),))
    shown_if = f"{{% if {f'{{{{{name}}}}}' if '${' in name else name} != blank %}}"
    message = f"{hole}. Show it only where there is one: "
    message += f"{shown_if}{template[markup.start : markup.end]}{{% endif %}}."
    edits = Edit(markup.start, markup.start, shown_if), Edit(markup.end, markup.end, "{% endif %}")
    return Finding(_KIND, empty.line, message, "Show it only where there is one", edits)


def _set_later(empty: Empty, markup: Markup, template: str, before: list[Finding]) -> Finding | None:
    """Tell of an answer that is read before the call that brings it."""
    root = _root(empty)
    tag = next((tag for tag in call_tags(template) if tag.variable == root), None)
    if tag is None or tag.start < markup.start:
        return None
    message = f"{root} is read before the call that saves it: put the call before it."
    if any(one.message == message for one in before):
        return Finding(_KIND, empty.line, message)
    start = next((m.start for m in markups(template) if re.search(rf"\b{root}\b", m.inner)), markup.start)
    edits = Edit(start, start, template[tag.start : tag.end]), Edit(tag.start, tag.end, "")
    return Finding(_KIND, empty.line, message, "Move the call up", edits)


def _nowhere(empty: Empty, template: str) -> Finding:
    """Tell of a condition or a loop that reads what can't be there."""
    markup = _markup(empty, template)
    comes = "always" if markup and markup.name == "unless" else "never"
    so = "nothing of this loop is shown" if empty.kind == "loop" else f"this {empty.kind} {comes} comes true"
    saved = " and ".join(tag.variable for tag in call_tags(template))
    hint = f"The answers are in {saved}." if saved else "Name what the template or Braze sets."
    return Finding(_KIND, empty.line, f"{empty.message.rstrip('.')}, so {so}. {hint}")


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


def _renamed(empty: Empty, nearest: str, template: str) -> tuple[str, tuple[Edit, ...]]:
    markup = _markup(empty, template)
    start = markup.inner.find(empty.expression) if markup else -1
    if markup is None or start < 0:
        return "", ()
    at = markup.at + start
    braced = "${" in nearest and template[at - 2 : at] != "{{" and not markup.is_output
    written = f"{{{{{nearest}}}}}" if braced else nearest
    return f"Write {nearest}", (Edit(at, at + len(empty.expression), written),)


def _markup(empty: Empty, template: str) -> Markup | None:
    """Return the tag or output that an expression stands in."""
    root, dot, rest = empty.expression.partition(".")
    # A namespace that Braze has not is read with braces too.
    braced = rf"|{re.escape(root)}\.\$\{{\s*{re.escape(rest)}\s*\}}" if dot and "$" not in empty.expression else ""
    pattern = re.compile(rf"(?<![\w.$])(?:{re.escape(empty.expression)}{braced})(?![\w\[])")
    of_kind = {"output": ("",), "loop": ("for", "tablerow"), "condition": ("if", "unless", "elsif", "case", "when")}
    there = [markup for markup in _on_line(template, empty.line) if pattern.search(markup.inner)]
    return next((one for one in there if one.name in of_kind[empty.kind]), there[0] if there else None)
