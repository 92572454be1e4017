"""What is found in a template: where, why, and the edit that puts it right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_ROUGH = re.compile(r"\{%-?\s*(?P<name>[\w-]*)(?P<tag>.*?)%\}|\{\{(?P<output>.*?)\}{2,}", re.DOTALL)
_UNREAD = re.compile(
    r"<!--.*?-->|\{%-?\s*comment\s*-?%\}.*?\{%-?\s*endcomment\s*-?%\}|\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}",
    re.DOTALL,
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SETS = re.compile(
    r":save\s+(\w+)|\b(?:assign|increment|decrement)\s+(\w+)|\bcapture\s+['\"]?(\w+)|\b(?:for|tablerow)\s+(\w+)\s+in\b"
)
_SET_BY_TAGS = {
    "connected_content": "connected",
    "catalog_items": "items",
    "catalog_selection_items": "items",
    "shopping_cart": "shopping_cart",
    "for": "forloop",
    "tablerow": "tablerowloop",
}
_MOST_FINDINGS = 60


@dataclass(frozen=True)
class Edit:
    """Put ``text`` in place of the characters from ``start`` to ``end``, counted from 0 in code points."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or looks wrong.

    ``line`` counts from 1; ``message`` says what happens and what to write; ``fix`` names the edits, which belong
    together; without edits the fix is for a person to make.
    """

    kind: str
    line: int
    message: str
    fix: str = ""
    edits: tuple[Edit, ...] = ()

    def shown(self, part: str) -> dict[str, Any]:
        """Return it as JSON, for the ``part`` of the message (``title`` or ``body``) it is in."""
        edits = [{"start": edit.start, "end": edit.end, "text": edit.text} for edit in self.edits]
        fix = {"label": self.fix, "edits": edits} if edits else None
        return {"part": part, "kind": self.kind, "line": self.line, "message": self.message, "fix": fix}


@dataclass(frozen=True)
class Markup:
    """One output (``name`` is empty) or tag: from ``start`` to ``end`` with its braces, ``inner`` without.

    ``inner`` begins at ``at``; of a tag it is what stands after the name.
    """

    name: str
    start: int
    end: int
    inner: str
    at: int

    @property
    def is_output(self) -> bool:
        """Whether it prints something; a tag does something."""
        return not self.name


def markups(text: str) -> Iterator[Markup]:
    """Yield what looks like Liquid in ``text``, leaving out comments and ``raw``; never raises."""
    readable = without_unread(text)
    for match in _ROUGH.finditer(readable):
        if match["output"] is not None:
            closing = len(match.group()) - 2 - len(match["output"])
            # The braces of ${name} at the end belong to the output.
            extra = match.start("output") + len(match["output"]) + closing - 2
            yield Markup(
                "", match.start(), match.end(), readable[match.start("output") : extra], match.start("output")
            )
        elif match["name"]:
            inner = match["tag"].removesuffix("-")
            yield Markup(match["name"], match.start(), match.end(), inner, match.start("tag"))


def without_unread(text: str) -> str:
    """Return ``text`` with what Liquid does not read blanked out, each character in its place."""
    return _UNREAD.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def names_set(text: str) -> frozenset[str]:
    """Return the variables that a template sets itself."""
    found = {name for match in _SETS.finditer(text) for name in match.groups() if name}
    found.update(variable for tag, variable in _SET_BY_TAGS.items() if re.search(rf"\{{%-?\s*{tag}\b", text))
    return frozenset(found)


def without_quoted(code: str) -> str:
    """Return Liquid code with what stands in quotes blanked out, each character in its place."""
    return _QUOTED.sub(lambda match: match.group()[0] + " " * (len(match.group()) - 2) + match.group()[0], code)


def line_at(text: str, index: int) -> int:
    """Return the line, from 1, of a position."""
    return text.count("\n", 0, max(index, 0)) + 1


def applied(text: str, edits: Iterable[Edit]) -> str:
    """Return ``text`` with the edits made; of two that overlap the first one is."""
    pieces: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start >= at:
            pieces += text[at : edit.start], edit.text
            at = edit.end
    return "".join([*pieces, text[at:]])


class Draft:
    """A template being put right, that remembers where each character stood at first.

    Several rounds look at it; each sees what those before have mended, while every finding is told, and can be
    mended alone, in the template as it was written.
    """

    def __init__(self, written: str) -> None:
        self.written = written
        self.text = written
        self.findings: list[Finding] = []
        self._origins = list(range(len(written) + 1))

    def note(self, kind: str, start: int, message: str, fix: str = "", *edits: Edit) -> None:
        """Record a finding at ``start`` of the text as it is now; ``edits`` are made when the round ends."""
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(kind, self.line(start), message, fix, edits))

    def line(self, index: int) -> int:
        """Return the line that a position of the present text has in the template as written."""
        return line_at(self.written, self._origins[min(index, len(self.text))])

    def line_of_line(self, line: int) -> int:
        """Return the line of the written template that a line of the present text comes from."""
        start = 0
        for _ in range(line - 1):
            start = self.text.find("\n", start) + 1
        return self.line(start)

    def end_round(self, first: int) -> None:
        """Make the edits of the findings from ``first`` on, and say them in places of the written template."""
        present = self.findings[first:]
        edits: list[Edit] = []
        for at, finding in enumerate(present, first):
            edits += finding.edits
            moved = tuple(Edit(self._origins[e.start], self._origins[e.end], e.text) for e in finding.edits)
            self.findings[at] = Finding(finding.kind, finding.line, finding.message, finding.fix, moved)
        chosen: list[Edit] = []
        for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
            if not chosen or edit.start >= chosen[-1].end:
                chosen.append(edit)
        for edit in reversed(chosen):
            origin = self._origins[edit.start]
            self._origins[edit.start : edit.end] = [origin] * len(edit.text)
            self.text = self.text[: edit.start] + edit.text + self.text[edit.end :]
