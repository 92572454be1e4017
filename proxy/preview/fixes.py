"""The edits that put right what rendering brought to light: what a call came to, and what came up empty."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote

from proxy.preview.braze import Empty
from proxy.preview.findings import (
    CallTag,
    Edit,
    Finding,
    Markup,
    call_tags,
    line_at,
    markups,
    names_set,
    without_quoted,
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
_LANGUAGES = {
    "english": "en",
    "german": "de",
    "deutsch": "de",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "dutch": "nl",
    "eng": "en",
    "ger": "de",
    "deu": "de",
    "fra": "fr",
    "spa": "es",
    "ita": "it",
}


def fixed(kind: str, line: int, message: str, template: str, host: str) -> Finding:
    """Return a mistake that the rendering refusal of, with the edits that put it right where there are any."""
    tag = next((tag for tag in call_tags(template) if tag.line == line), None)
    fix, more = "", ""
    edits: Sequence[Edit] = ()
    if kind == "unescaped-text":
        fix, edits = _escaping(tag, message, template)
    elif kind in ("compared", "whole-list"):
        fix, edits = _by_value(kind, line, message, template)
    elif tag is not None:
        fix, edits, more = _of_call(kind, tag, message, template, host)
    return Finding(kind, line, f"{message}{more}", fix, tuple(edits))


def _by_value(kind: str, line: int, message: str, template: str) -> tuple[str, Sequence[Edit]]:
    """Return the edits for a value that is a list, a number or a yes where a text was expected."""
    name = message.partition(" is ")[0]
    on_line = [m for m in markups(template) if line_at(template, m.start) <= line <= line_at(template, m.end)]
    for markup in on_line:
        at = markup.at
        if kind == "whole-list" and markup.is_output and name in markup.inner:
            end = at + len(markup.inner.rstrip(" -"))
            return "Add | join: ', '", [Edit(end, end, " | join: ', '")]
        sides = re.search(rf"({re.escape(name)}\}}*)(\s*)(==|!=)\s*((['\"])(.*?)\5)", markup.inner)
        if kind == "compared" and sides:
            operator, text = (at + sides.start(3), at + sides.end(3)), (at + sides.start(4), at + sides.end(4))
            if "is a list" in message:
                if sides[3] == "!=":
                    return "", ()
                return "Write contains", [Edit(*operator, "contains" if sides[2] else " contains")]
            is_no = sides[6].lower() in ("no", "false", "nein", "0")
            right = ("false" if is_no else "true") if "true or false" in message else sides[6]
            return f"Write {right}", [Edit(*text, right)]
    return "", ()


def _of_call(kind: str, tag: CallTag, message: str, template: str, host: str) -> tuple[str, Sequence[Edit], str]:
    match kind:
        case "missing-save":
            named = re.search(r"add :save (\w+)", message)
            name = named[1] if named else "product"
            return f"Add :save {name}", [tag.with_option(f":save {name}")], ""
        case "ignored-parameters":
            return _ignored(tag, message)
        case "cache-age":
            used = re.search(r"becomes (\d+)", message)
            start, end, _ = tag.options.get("cache_max_age", (tag.end, tag.end, ""))
            return (
                ("Write it", [Edit(start, end, f":cache_max_age {used[1]}")], f" Write {used[1]}.")
                if used
                else ("", (), "")
            )
        case "abort-before-retry" | "retry-not-available":
            return "Leave :retry out", [tag.without_option("retry")], ""
        case "port":
            port = re.search(r"(?<=\w):\d+(?=/|$)", tag.url)
            if port is None:
                return "", (), ""
            return (
                "Leave the port out",
                [Edit(tag.url_at + port.start(), tag.url_at + port.end(), "")],
                " Leave it out.",
            )
        case "not-json":
            return (
                "Leave :save out",
                [tag.without_option("save")],
                " Leave :save out to print it in place of the tag.",
            )
        case "url-characters":
            return _escaped(tag)
        case "empty-parameter":
            return _stopped(tag, message, template)
        case "not-sent":
            return _moved(tag, message, host)
        case "problem":
            return _refused(tag, message)
    return "", (), ""


def _ignored(tag: CallTag, message: str) -> tuple[str, Sequence[Edit], str]:
    names = [name.strip(" .") for name in message.rpartition(":")[2].split(",")]
    edits, said = [], []
    for name in names:
        nearest = get_close_matches(name.lower(), [p.lower() for p in PARAMETERS], 1, 0.6)
        right = next((p for p in PARAMETERS if nearest and p.lower() == nearest[0]), "")
        where = re.search(rf"[?&]({re.escape(name)})=", tag.url)
        if where and right and tag.value(right) is None:
            edits.append(Edit(tag.url_at + where.start(1), tag.url_at + where.end(1), right))
            said.append(f"{name} is {right}")
        else:
            edits.append(tag.without_parameter(name))
            said.append(f"take {name} out")
    return "Put it right", edits, f" Here {', '.join(said)}."


def _escaped(tag: CallTag) -> tuple[str, Sequence[Edit], str]:
    edits = []
    for _, output, at in tag.outputs():
        if not re.search(r"\burl_(?:param_escape|encode|escape)\b", output):
            end = at + len(output.rstrip("}")) + ("${" in output and output.endswith("}}}"))
            edits.append(Edit(end, end, " | url_param_escape"))
    bare = re.sub(r"\{\{.*?\}\}\}?", lambda match: "x" * len(match.group()), tag.url)
    for match in re.finditer(r"[^\w\-.~:/?#\[\]@!$&'()*+,;=%]+|[^\x00-\x7f]+", bare):
        edits.append(Edit(tag.url_at + match.start(), tag.url_at + match.end(), quote(match.group())))
    return "Escape it", edits, ""


def _stopped(tag: CallTag, message: str, template: str) -> tuple[str, Sequence[Edit], str]:
    expression = re.search(r"arrives empty: (\{\{.*\}\}) rendered", message)
    if expression is None:
        return "", (), " Write a SKU after it, such as TRUCK-01."
    value = expression[1][2:-2].split("|")[0].strip()
    asked = f"{{{{{value}}}}}"
    stop = f"{{% if {asked} == blank %}}{{% abort_message('no SKU') %}}{{% endif %}}"
    if stop in template:
        return "", (), ""
    more = " Give it a value in step 3, or send nothing without one."
    return "Send nothing without one", [Edit(tag.start, tag.start, stop)], more


def _moved(tag: CallTag, message: str, host: str) -> tuple[str, Sequence[Edit], str]:
    if "is not its name" in message:
        host_written = re.match(r"(?:https?:)?/*[^/?\s{]+", tag.url)
        if host_written and "/v1/" in tag.url:
            return f"Write {host}", [Edit(tag.url_at, tag.url_at + host_written.end(), host)], f" Write {host}."
    if "start with /v1/" in message:
        path = re.match(r"https?://[^/?#]+(/[^?#{]*)?", tag.url)
        written = (path[1] or "") if path else ""
        nearest = get_close_matches(f"/v1{written}".replace("/v1/v2", "/v1"), _PATHS, 1, 0.5)
        if path and nearest:
            start = tag.url_at + path.end() - len(written)
            return f"Write {nearest[0]}", [Edit(start, start + len(written), nearest[0])], f" Write {nearest[0]}."
    if "must start with http" in message:
        return (
            "Write the whole address",
            [Edit(tag.url_at, tag.url_at, f"{host}/" if "://" not in tag.url else "")],
            "",
        )
    if "only reads" in message and tag.path in _PATHS:
        edits = [tag.without_option("method"), tag.without_option("body")]
        return "Leave :method out", edits, " Reviews are read with GET: leave :method out."
    more = " Take the call out of the message; invitations have their own campaign."
    return "Take the call out", [Edit(tag.start, tag.end, "")], more


def _refused(tag: CallTag, message: str) -> tuple[str, Sequence[Edit], str]:
    status = re.search(r"the answer is (\d+)", message)
    match status[1] if status else "":
        case "401":
            if tag.options.keys() & {"basic_auth", "auth_credentials"}:
                return "", (), " Look at the credential’s name and password in Braze."
            return (
                "Add :basic_auth reviews_proxy",
                [tag.with_option(":basic_auth reviews_proxy")],
                " Add :basic_auth and the name it is stored under in Braze.",
            )
        case "404":
            nearest = get_close_matches(tag.path, _PATHS, 1, 0.4)
            at = tag.url.find(tag.path)
            if nearest and at >= 0 and nearest[0] != tag.path:
                return (
                    f"Write {nearest[0]}",
                    [Edit(tag.url_at + at, tag.url_at + at + len(tag.path), nearest[0])],
                    f" The nearest address is {nearest[0]}.",
                )
        case "405":
            return (
                "Leave :method out",
                [tag.without_option("method"), tag.without_option("body")],
                " Reviews are read with GET: leave :method out.",
            )
        case "503" | "504" | "502":
            if tag.value("on_error") is None:
                return (
                    "Add on_error=empty",
                    [tag.with_parameter("on_error", "empty")],
                    " With on_error=empty the message can show something else.",
                )
        case "400":
            return _parameter(tag, message)
    return "", (), ""


def _parameter(tag: CallTag, message: str) -> tuple[str, Sequence[Edit], str]:
    refusal = re.search(r"the answer is 400: (\w+)(?: is '([^']*)'…?)?: (.*)", message, re.DOTALL)
    if refusal is None:
        return "", (), ""
    name, value, takes = refusal[1], refusal[2] or "", refusal[3]
    other = re.search(r"\((\w+) is another parameter\)", takes)
    if other and (where := re.search(rf"[?&]({re.escape(other[1])})=", tag.url)):
        return (
            f"Write {name}=",
            [Edit(tag.url_at + where.start(1), tag.url_at + where.end(1), name)],
            f" Write {name}= for {other[1]}=.",
        )
    if takes.startswith("required"):
        nearest = [
            given
            for given in re.findall(r"[?&](\w+)=", tag.url)
            if get_close_matches(given.lower(), [name, "product_id", "id", "product"], 1, 0.6)
        ]
        if nearest and (where := re.search(rf"[?&]({nearest[0]})=", tag.url)):
            return (
                f"Write {name}=",
                [Edit(tag.url_at + where.start(1), tag.url_at + where.end(1), name)],
                f" Write {name}= for {nearest[0]}=.",
            )
        filled = "{{event_properties.${item_sku} | url_param_escape}}"
        return f"Write {name}=", [tag.with_parameter(name, filled)], f" Write {name}={filled}."
    right = _right_value(name, value)
    if tag.value(name) is None or "empty SKU" in takes or "unrendered" in takes:
        return "", (), ""
    if right:
        return f"Write {name}={right}", [tag.with_parameter(name, right)], f" Write {name}={right}."
    return f"Take {name} out", [tag.without_parameter(name)], f" Write another value, or take {name} out."


def _right_value(name: str, value: str) -> str:
    if name in _RANGES and (number := re.search(r"-?\d+", value)):
        low, high = _RANGES[name]
        return str(min(max(int(number[0]), low), high))
    if name == "stars":
        span = re.fullmatch(r"\s*([1-5])\s*(?:-|–|to|\.\.)\s*([1-5])\s*", value)
        digits = (
            [str(star) for star in range(int(span[1]), int(span[2]) + 1)] if span else re.findall(r"[1-5]", value)
        )
        if re.search(r"[1-5]\s*\+|>=?\s*[1-5]", value) and digits:
            digits = [str(star) for star in range(int(digits[0]), 6)]
        return ",".join(dict.fromkeys(digits))
    if name == "language":
        words = re.findall(r"[a-z]+", value.lower())
        return _LANGUAGES.get(words[0], words[0][:2] if len(words) > 1 else "") if words else ""
    if name == "sort":
        return "highest" if re.search(r"high|best|rating|star|desc", value.lower()) else "newest"
    if name == "format":
        return "text" if re.search(r"te?xt|plain", value.lower()) else "html"
    if name == "on_error":
        return "empty"
    return ""


def _escaping(tag: CallTag | None, message: str, template: str) -> tuple[str, Sequence[Edit]]:
    if tag is not None and tag.value("format") == "text":
        return "Leave format=text out", [tag.without_parameter("format")]
    path = re.search(r"\{\{([^{}]+)\}\}", message)
    last = re.split(r"[.\[]", path[1].strip().rstrip("]"))[-1] if path else ""
    edits = []
    for markup in markups(template):
        value = markup.inner.split("|")[0].strip(" -")
        if (
            markup.is_output
            and (value.endswith(f".{last}") or value == (path[1] if path else ""))
            and "escape" not in markup.inner
        ):
            end = markup.at + len(markup.inner.rstrip(" -"))
            edits.append(Edit(end, end, " | escape"))
    return "Add | escape", edits


_WORST = ("secret", "personal-data")


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings by line, each said once, and one alone of those that mend the same place."""
    kept: dict[tuple[int, str], Finding] = {}
    mended: set[tuple[tuple[int, int], ...]] = set()
    # What is worst about a place is told of it.
    for finding in sorted(findings, key=lambda finding: (finding.line, finding.kind not in _WORST)):
        places = tuple((edit.start, edit.end) for edit in finding.edits)
        if (finding.line, finding.message) in kept or (places and places in mended):
            continue
        kept[finding.line, finding.message] = finding
        mended.add(places)
    return list(kept.values())


# ---- What came up empty

# Braze: Supported personalization tags.
_ATTRIBUTES = frozenset(
    (
        *("braze_id", "city", "country", "date_of_birth", "dob", "email_address", "first_name", "gender", "language"),
        *("last_name", "last_used_app_date", "most_recent_app_version", "most_recent_locale", "phone_number"),
        *("random_bucket_number", "time_zone", "user_id"),
    )
)
_OTHER_NAMES = {
    **dict.fromkeys(("firstname", "fname", "firstName", "FirstName", "name", "given_name"), "first_name"),
    **dict.fromkeys(("lastname", "lname", "lastName", "LastName", "surname", "family_name"), "last_name"),
    **dict.fromkeys(("email", "e_mail", "emailAddress", "mail"), "email_address"),
    **dict.fromkeys(("phone", "mobile"), "phone_number"),
}
_BRACED = re.compile(r"(?:\w+\.)?\$\{(?P<name>[^{}]+)\}")
_PLACE = re.compile(r"^(?!.*is null).*(?:nothing is called|has no \w|is no list|is an object|is a list|is text or a)")


@dataclass
class Unfilled:
    """``findings`` are mistakes, ``rest`` what the message provides for, as JSON."""

    findings: list[Finding] = field(default_factory=list)
    rest: list[dict[str, Any]] = field(default_factory=list)


def examine_empties(template: str, empties: Iterable[Empty], *, has_failed_calls: bool) -> Unfilled:
    """Part what came up empty into mistakes and the rest.

    After a call that failed its variable is empty, and all that reads it: the failure is told, not its consequences.
    """
    seen = Unfilled()
    own = names_set(template)
    calls = call_tags(template)
    saved = {tag.variable for tag in calls} if has_failed_calls else set()
    for empty in empties:
        root = re.split(r"[.\[$]", empty.expression)[0]
        nearest = empty.nearest or _attribute(empty.expression, own, template)
        is_unknown = (
            empty.message.startswith("nothing is called")
            and root not in own
            and not _asks_for_nothing(empty, template)
        )
        if root in saved or "the preview doesn't know" in empty.message or (empty.expected and not is_unknown):
            seen.rest.append(asdict(empty))
        elif nearest:
            message = empty.message if empty.nearest else f"{empty.message.rstrip('.')}; did you mean {nearest}?"
            fix, edits = _renamed(empty, nearest, template)
            seen.findings.append(Finding("came-up-empty", empty.line, message, fix, edits))
        elif empty.kind == "output":
            _output(seen, empty, template)
        elif is_unknown or (_PLACE.search(empty.message) and not empty.message.startswith("nothing is called")):
            seen.findings.append(_nowhere(empty, template))
        else:
            seen.rest.append(asdict(empty))
    lines = {finding.line for finding in seen.findings}
    seen.findings += (finding for finding in _defaulted(template, own) if finding.line not in lines)
    return seen


def _defaulted(template: str, own: frozenset[str]) -> Iterator[Finding]:
    """Tell of a plain name that is nobody's, where a default hides that it is always empty."""
    for markup in markups(template):
        name, bar, _ = markup.inner.partition("|")
        nearest = _attribute(name.strip(" -"), own, template) if markup.is_output and bar else None
        if nearest and re.search(r"\|\s*default\b", markup.inner):
            at = markup.at + markup.inner.index(name.strip(" -"))
            message = f"nothing is called {name.strip()}, so everybody gets the default; did you mean {nearest}?"
            edit = Edit(at, at + len(name.strip(" -")), nearest)
            yield Finding("came-up-empty", line_at(template, markup.start), message, f"Write {nearest}", (edit,))


def _output(seen: Unfilled, empty: Empty, template: str) -> None:
    markup = _markup(empty, template)
    if markup is None or not markup.is_output or re.search(r"\|\s*default\b", without_quoted(markup.inner)):
        seen.rest.append(asdict(empty))
        return
    braced = _BRACED.fullmatch(empty.expression)
    if braced:
        word = "there" if "name" in braced["name"] else "…"
        at = markup.at + markup.inner.index("}", markup.inner.index("${")) + 1
        message = (
            f"{empty.message.rstrip('.')}, and the message has a hole there. Say what stands in its place: "
            f"| default: '{word}'."
        )
        edits: tuple[Edit, ...] = (Edit(at, at, f" | default: '{word}'"),)
        seen.findings.append(Finding("came-up-empty", empty.line, message, f"Write default: '{word}'", edits))
        return
    if late := _set_later(seen, empty, markup, template):
        seen.findings.append(late)
        return
    name = re.fullmatch(r"\w+", empty.expression)
    if name and empty.message.startswith("nothing is called") and name[0] not in names_set(template):
        right = f"event_properties.${{{name[0]}}}"
        at = markup.at + markup.inner.index(name[0])
        message = (
            f"nothing is called {name[0]}, and the message has a hole there: Braze’s values are written ${{…}}, "
            f"custom_attribute.${{…}} or {right}."
        )
        edit = Edit(at, at + len(name[0]), right)
        seen.findings.append(Finding("came-up-empty", empty.line, message, f"Write {right}", (edit,)))
        return
    written = template[markup.start : markup.end]
    asked = f"{{{{{empty.expression}}}}}" if "${" in empty.expression else empty.expression
    shown_if = f"{{% if {asked} != blank %}}"
    message = f"{empty.message.rstrip('.')}, and the message has a hole there. Show it only where there is one: "
    message += f"{shown_if}{written}{{% endif %}}."
    edits = (Edit(markup.start, markup.start, shown_if), Edit(markup.end, markup.end, "{% endif %}"))
    seen.findings.append(Finding("came-up-empty", empty.line, message, "Show it only where there is one", edits))


def _set_later(seen: Unfilled, empty: Empty, markup: Markup, template: str) -> Finding | None:
    """Tell of an answer that is read before the call that brings it."""
    root = re.split(r"[.\[$]", empty.expression)[0]
    tag = next((tag for tag in call_tags(template) if tag.variable == root), None)
    if tag is None or tag.start < markup.start:
        return None
    before = next((m.start for m in markups(template) if re.search(rf"\b{root}\b", m.inner)), markup.start)
    edits = Edit(before, before, template[tag.start : tag.end]), Edit(tag.start, tag.end, "")
    message = f"{root} is read before the call that saves it: put the call before it."
    if any(one.message == message for one in seen.findings):
        return Finding("came-up-empty", empty.line, message)
    return Finding("came-up-empty", empty.line, message, "Move the call up", edits)


def _nowhere(empty: Empty, template: str) -> Finding:
    """Tell of a condition or a loop that reads what can't be there."""
    markup = _markup(empty, template)
    comes = "always" if markup and markup.name == "unless" else "never"
    so = "nothing of this loop is shown" if empty.kind == "loop" else f"this {empty.kind} {comes} comes true"
    message = f"{empty.message.rstrip('.')}, so {so}. "
    saved = [tag.variable for tag in call_tags(template)]
    message += f"The answers are in {' and '.join(saved)}." if saved else "Name what the template or Braze sets."
    return Finding("came-up-empty", empty.line, message)


def _asks_for_nothing(empty: Empty, template: str) -> bool:
    """Tell whether a condition compares with nothing, and so provides for a name that is nobody's."""
    markup = _markup(empty, template)
    compared = rf"(?<![\w.$]){re.escape(empty.expression)}\s*(?:==|!=|<>)\s*(?:nil|null|blank|empty)\b"
    return empty.expected and markup is not None and bool(re.search(compared, markup.inner))


def _attribute(expression: str, own: frozenset[str], template: str) -> str | None:
    """Return how Braze writes what a plain word was meant to be."""
    if braced := re.fullmatch(r"\$\{(\w+)\}", expression):
        name = _OTHER_NAMES.get(braced[1], "") or next(iter(get_close_matches(braced[1], _ATTRIBUTES, 1, 0.85)), "")
        return f"${{{name}}}" if name and name != braced[1] and braced[1] not in _ATTRIBUTES else None
    if not re.fullmatch(r"\w+", expression) or expression in own:
        return None
    for match in re.finditer(r"(?:\w+\.)?\$\{([^{}]+)\}", template):
        if match[1].strip() == expression:
            return match.group()
    name = _OTHER_NAMES.get(expression, expression)
    return f"${{{name}}}" if name in _ATTRIBUTES else None


def _renamed(empty: Empty, nearest: str, template: str) -> tuple[str, tuple[Edit, ...]]:
    markup = _markup(empty, template)
    if markup is None:
        return "", ()
    at = markup.at + markup.inner.find(empty.expression)
    if at < markup.at:
        return "", ()
    end = at + len(empty.expression)
    braced = "${" in nearest and (template[at - 2 : at] != "{{" and not markup.is_output)
    written = f"{{{{{nearest}}}}}" if braced else nearest
    return f"Write {nearest}", (Edit(at, end, written),)


def _markup(empty: Empty, template: str) -> Markup | None:
    """Return the tag or output that an expression stands in."""
    root, dot, rest = empty.expression.partition(".")
    # A namespace that Braze has not is read with braces too.
    braced = rf"|{re.escape(root)}\.\$\{{\s*{re.escape(rest)}\s*\}}" if dot and "$" not in empty.expression else ""
    pattern = re.compile(rf"(?<![\w.$])(?:{re.escape(empty.expression)}{braced})(?![\w\[])")
    of_kind = {"output": ("",), "loop": ("for", "tablerow"), "condition": ("if", "unless", "elsif", "case", "when")}
    found = [
        markup
        for markup in markups(template)
        if line_at(template, markup.start) <= empty.line <= line_at(template, markup.end)
        and pattern.search(markup.inner)
    ]
    return next((one for one in found if one.name in of_kind[empty.kind]), found[0] if found else None)
