"""A ``connected_content`` tag in a template's text: where its pieces stand, and the edits that change them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.preview.findings import Edit, line_at, markups

_OPTION = re.compile(r"(?<=\s):(\w+)(?:\s+|$)")
_OUTPUT = re.compile(r"\{\{.*?\}\}\}?", re.DOTALL)
_PLAIN_WORDS = ("save", "method", "basic_auth", "auth_credentials", "cache_max_age", "content_type", "accept")


@dataclass(frozen=True)
class CallTag:
    """One call as written. ``options`` maps names without the colon to where they begin, end, and their value."""

    line: int
    start: int
    end: int
    url: str
    url_at: int
    options: Mapping[str, tuple[int, int, str]]

    @property
    def path(self) -> str:
        """The path of the address, without Liquid in it; empty when it is no address."""
        try:
            return urlsplit(_OUTPUT.sub("x", self.url)).path
        except ValueError:
            return ""

    @property
    def variable(self) -> str:
        """The variable that holds the answer."""
        return self.options["save"][2] if "save" in self.options else "connected"

    def value(self, name: str) -> str | None:
        """Return what an option or a parameter of the address is given, Liquid and all."""
        if name in self.options:
            return self.options[name][2]
        found = self._parameter(name)
        return self.url[found.end(1) : found.end()] if found else None

    def with_parameter(self, name: str, value: str) -> Edit:
        """Return the edit that gives a parameter a value."""
        if found := self._parameter(name):
            return Edit(self.url_at + found.end(1), self.url_at + found.end(), value)
        end = self.url_at + len(self.url)
        return Edit(end, end, f"{'&' if '?' in self.url else '?'}{name}={value}")

    def without_parameter(self, name: str) -> Edit:
        """Return the edit that takes a parameter out; one that does nothing when it is not there."""
        found = self._parameter(name)
        if found is None:
            return Edit(self.start, self.start, "")
        start, end = self.url_at + found.start(), self.url_at + found.end()
        if self.url[found.start()] == "?":
            start += 1
            end += self.url[found.end() : found.end() + 1] == "&"
        return Edit(start, end, "")

    def with_option(self, text: str) -> Edit:
        """Return the edit that adds an option at the end of the tag."""
        end = self.url_at + len(self.url)
        for _, option_end, _ in self.options.values():
            end = max(end, option_end)
        return Edit(end, end, f" {text}")

    def without_option(self, name: str) -> Edit:
        """Return the edit that takes an option out; one that does nothing when it is not there."""
        if name not in self.options:
            return Edit(self.start, self.start, "")
        start, end, _ = self.options[name]
        return Edit(start - 1, end, "")

    def outputs(self) -> Iterator[tuple[str, str, int]]:
        """Yield each output of the address: the parameter it fills, its text, and where it begins."""
        for match in re.finditer(
            r"([?&])([\w-]+)=([^&]*)", _OUTPUT.sub(lambda m: "\ufdd0" * len(m.group()), self.url)
        ):
            start = match.start(3)
            for output in _OUTPUT.finditer(self.url, start, match.end(3)):
                yield match[2], output.group(), self.url_at + output.start()

    def parameters(self) -> list[tuple[str, str]]:
        """Return the parameters of the address and their values as they are written, Liquid and all."""
        covered = _OUTPUT.sub(lambda match: "\ufdd0" * len(match.group()), self.url)
        return [
            (match[1], self.url[match.start(2) : match.end(2)])
            for match in re.finditer(r"[?&]([\w-]+)=([^&#]*)", covered)
        ]

    def _parameter(self, name: str) -> re.Match[str] | None:
        covered = _OUTPUT.sub(lambda match: "x" * len(match.group()), self.url)
        return re.search(rf"([?&]{re.escape(name)}=)[^&#]*", covered)


def call_tags(text: str) -> list[CallTag]:
    """Return the calls of a template, in the order they are written."""
    tags = []
    for markup in markups(text):
        if markup.name != "connected_content":
            continue
        covered = _OUTPUT.sub(lambda match: "x" * len(match.group()), markup.inner.rstrip("- \n\t"))
        url = re.match(r"\s*(\S+)", covered)
        if url is None:
            continue
        names = list(_OPTION.finditer(covered, url.end()))
        options = {}
        for number, match in enumerate(names):
            end = names[number + 1].start() if number + 1 < len(names) else len(covered)
            value = markup.inner[match.end() : end].strip()
            if match[1] in _PLAIN_WORDS:
                value = value.split()[0] if value else ""
            stop = match.end() + len(value) if value else match.start() + len(match.group().rstrip())
            options[match[1]] = (markup.at + match.start(), markup.at + stop, value)
        tags.append(
            CallTag(
                line_at(text, markup.start),
                markup.start,
                markup.end,
                markup.inner[url.start(1) : url.end(1)],
                markup.at + url.start(1),
                options,
            )
        )
    return tags
