"""What came up empty in a message: what of it is a mistake, with the edit that mends it, and what is provided for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any

from proxy.preview.braze import Empty
from proxy.preview.call_tag import call_tags
from proxy.preview.findings import Edit, Finding, Markup, line_at, markups, names_set, without_quoted

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


def examine(template: str, empties: Iterable[Empty], *, has_failed_calls: bool) -> Unfilled:
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
