"""What is wrong with how a ``connected_content`` tag is written: its address, its options, its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

from proxy.preview.braze import CALL_FLAGS, CALL_OPTIONS
from proxy.preview.findings import MEANT, RULES, TABLES, Draft, Markup, Rule, covered, examined

_OPTION = re.compile(rf":\s*({'|'.join(sorted(CALL_OPTIONS, key=len, reverse=True))})\b")
_OUTPUT = re.compile(r"\{\{.*?\}\}\}?", re.DOTALL)
_UNITS = {60: "m min mins minutes", 3600: "h hour hours", 86400: "d day days"}
_SECONDS = {unit: seconds for seconds, units in _UNITS.items() for unit in units.split()}
_LONGEST = 14_400  # Braze: four hours
_EXAMPLE = "https://reviews.example.com/v1/reviews?sku={{event_properties.${item_sku} | url_param_escape}}"


def examine_calls(draft: Draft) -> None:
    """Look at every call of a template."""
    for markup in examined(draft.text):
        if markup.name == "connected_content":
            _Call(draft, markup).examine()


class _Call:
    """One tag: its text, and the same with everything that may hold spaces or colons covered."""

    def __init__(self, draft: Draft, markup: Markup) -> None:
        self._draft = draft
        self._markup = markup
        self._text = markup.inner
        self._covered = covered(markup.inner)
        for start, end in _json_spans(self._covered):
            self._covered = self._covered[:start] + "x" * (end - start) + self._covered[end:]

    def examine(self) -> None:
        words = [match.span() for match in re.finditer(r"\S+", self._covered.rstrip(" -"))]
        if not words or self._covered.startswith(tuple(f":{option}" for option in CALL_OPTIONS), words[0][0]):
            self._note("address/none", (0, 0, f" {_EXAMPLE} "), plain=_EXAMPLE)
            return
        words = self._address(words)
        self._options(words)
        for name in ("headers", "body"):
            self._json(name)

    def _note(self, sentence: str, /, *edits: tuple[int, int, str], at: int = 0, **words: Any) -> None:
        """Note a finding at its first edit, or at ``at``; the places are those in the tag's text."""
        made = [self._markup.edit((start, end), text) for start, end, text in edits]
        self._draft.note(sentence, *made, at=self._markup.at + at if at else None, **words)

    def _apart(self, found: str, other: str, at: int) -> None:
        self._note("option/against-another", (at, at, " "), found=found, other=other)

    def _word(self, word: tuple[int, int]) -> str:
        return self._text[slice(*word)]

    # ---- The address

    def _address(self, words: list[tuple[int, int]]) -> list[tuple[int, int]]:
        start, end = words[0]
        if self._covered[start:end].lower() == "content" and len(words) > 1:
            # {% connected content … %}, whose first word has been put right already
            self._note("address/one-word", (start, words[1][0], ""))
            words = words[1:]
            start, end = words[0]
        if glued := _OPTION.search(self._covered, start + 8, end):
            at = glued.start()
            self._note("option/against-address", (at, at, " "), option=glued[1])
            words = [(start, at), (at, end), *words[1:]]
            end = at
        after = 1
        while after < len(words) and not self._is_option(words[after]):
            gap = (words[after - 1][1], words[after][0])
            here, there = self._covered[gap[0] - 1], self._covered[gap[1]]
            between = "" if here in "=&?/," or there in "&?/,=" else "%20"
            self._note("address/space", (*gap, between))
            after += 1
        url = self._text[start:end]
        if url[0] in "'\"":
            last = end - 1 if url[-1] in "'\"" and len(url) > 1 else end
            self._note("address/quotes", (start, start + 1, ""), (last, end, ""))
        address = self._markup.part(start, end)
        self._draft.apply("address", [*RULES["address"], _STARS], address, url, each=True)
        self._marks(start, self._covered[start:end])
        return words[after:]

    def _marks(self, start: int, url: str) -> None:
        """Look at what parts the parameters of the address."""
        marks = [start + match.start() for match in re.finditer(r"\?", url)]
        if len(marks) > 1:
            self._note("address/marks", *((mark, mark + 1, "&") for mark in marks[1:]))
        elif not marks and (ampersand := url.find("&")) > 0:
            self._note("address/no-mark", (start + ampersand, start + ampersand + 1, "?"))
        for match in re.finditer(r"&&+", url):
            self._note("address/two-marks", (start + match.start(), start + match.end(), "&"))

    # ---- The options

    def _is_option(self, word: tuple[int, int]) -> bool:
        text = self._covered[slice(*word)]
        return text.startswith((":", "--")) or text.strip(",;") in CALL_OPTIONS or text in ",;"

    def _options(self, words: list[tuple[int, int]]) -> None:
        given: set[str] = set()
        at = 0
        while at < len(words):
            start, end = words[at]
            text = self._covered[start:end]
            at += 1
            if text in (",", ";"):
                self._note("option/parted", (start, end, ""), found=text)
                continue
            if text == ":" and at < len(words):
                self._note("option/colon", (start + 1, words[at][0], ""), at=start, option=self._word(words[at]))
                start, end = words[at]
                text = f":{self._covered[start:end]}"
                start -= 1
                at += 1
            elif not text.startswith(":"):
                plain = text.lstrip("-").strip(",;")
                before = words[at - 3 : at - 1]
                if len(before) == 2 and self._word(before[0]) == ":save" and self._word(before[1]) == "as":
                    edits = (*before[1], ""), (before[1][1], start, "")
                    self._note("option/save-as", *edits, at=start, plain=plain)
                    continue
                if plain not in CALL_OPTIONS:
                    self._note("option/none", (start, end, ""), found=self._text[start:end][:40])
                    continue
                text = f":{plain}"
                self._note("option/no-colon", (start, end, text))
            name, extra = self._name(text, start, end)
            if not name:
                while at < len(words) and not self._is_option(words[at]):
                    at += 1
                continue
            if name in given:
                has_value = at < len(words) and not self._is_option(words[at]) and name not in CALL_FLAGS
                last = words[at][1] if has_value else end
                self._note("option/twice", (start, last, ""), option=name)
            given.add(name)
            at = self._value(name, words, at, (start, end), has_value=bool(extra))

    def _name(self, text: str, start: int, end: int) -> tuple[str, str]:
        """Return the option that is and what is written against its name."""
        match = re.match(r":([\w-]+)([,;]?$|.*)", text, re.DOTALL)
        if match is None:
            self._note("option/unreadable", (start, end, ""), found=self._text[start:end])
            return "", ""
        word, rest = match[1], match[2]
        plain = word.lower().replace("-", "_")
        name_end = start + 1 + len(word)
        longest_first = sorted(CALL_OPTIONS, key=len, reverse=True)
        glued = next((option for option in longest_first if plain.startswith(option) and plain != option), "")
        nearest = get_close_matches(plain, CALL_OPTIONS, 1, 0.75)
        if plain in CALL_OPTIONS:
            name = plain
        elif plain in MEANT["options"]:
            name = MEANT["options"][plain]
        elif glued and (not nearest or nearest[0] == glued) and len(plain) - len(glued) > 1:
            self._apart("The value", f":{glued}", start + 1 + len(glued))
            return glued, word[len(glued) :]
        elif nearest:
            name = nearest[0]
        else:
            known = ", ".join(f":{option}" for option in CALL_OPTIONS if option != "accept")
            following = re.compile(r"\s:|\s*$").search(self._covered, end)
            self._note(
                "option/unknown", (start, following.start() if following else end, ""), found=word, known=known
            )
            return "", ""
        if name != word:
            self._note("option/misnamed", (start + 1, name_end, name), found=word)
        if rest and rest[0] in "=:,;" and not rest.startswith(":x"):
            edit = name_end, name_end + 1, " " if rest[1:] else ""
            self._note("option/space", edit, option=name, found=rest[0])
        elif rest.startswith(":"):
            self._apart(rest, f":{name}", name_end)
        return name, rest.lstrip("=:,;")

    def _value(
        self, name: str, words: list[tuple[int, int]], at: int, option: tuple[int, int], *, has_value: bool
    ) -> int:
        if at < len(words) and self._covered[slice(*words[at])] in ("=", ":") and not has_value:
            self._note("option/sign", (option[1], words[at][1], ""), at=words[at][0], option=name)
            at += 1
        if name in CALL_FLAGS:
            while at < len(words) and not self._is_option(words[at]):
                edit = words[at - 1][1], words[at][1], ""
                self._note("option/no-value", edit, at=words[at][0], option=name, found=self._word(words[at]))
                at += 1
            return at
        if has_value:
            return at
        if at >= len(words) or self._is_option(words[at]):
            if example := TABLES["option_examples"].get(name):
                self._note("option/value-such-as", (option[1], option[1], f" {example}"), option=name)
            elif name != "cache_max_age":  # Braze: without a number, the usual five minutes
                self._note("option/value", (*option, ""), option=name)
            return at
        if name not in ("headers", "body"):
            self._check_word(name, *words[at])
            return at + 1
        at += 1
        while at < len(words) and not self._is_option(words[at]):
            at += 1
        return at

    def _check_word(self, name: str, start: int, end: int) -> None:
        value = self._text[start:end]
        if glued := _OPTION.search(self._covered, start, end):
            self._apart(f":{glued[1]}", value[: glued.start() - start], glued.start())
            return
        right = value.strip(",;").strip("'\"").strip(",;=")
        if name == "save":
            right = re.sub(r"\W", "_", right.strip("{}$ ").partition(".")[0]) or "product"
            right = f"r_{right}" if right[0].isdigit() else right
        elif name == "cache_max_age" and "{{" not in right:
            found = re.fullmatch(r"(\d+)\s*([a-z]*)", right.lower())
            seconds = int(found[1]) * _SECONDS.get(found[2], 1) if found else 300
            right = str(min(seconds, _LONGEST) if found and found[2] else seconds)
        elif name == "method" and "{{" not in right and right.lower() not in ("get", "post"):
            right = "get"
        if right != value:
            takes = TABLES["option_takes"].get(name, "a name without quotes")
            self._note("option/takes", (start, end, right), option=name, takes=takes, found=value[:60])

    # ---- JSON

    def _json(self, name: str) -> None:
        match = re.search(rf":{name}\s+", self._covered)
        if match is None:
            return
        start = match.end()
        following = _OPTION.search(self._covered, start)
        raw = self._text[start : following.start() if following else len(self._covered)].rstrip(" \n\r\t-,")
        reason = "" if name == "body" and raw[:1] not in ("{", "[", "'") else _reason(raw)
        if not reason:
            return
        right = _mended(raw)
        if right is None:
            self._note("json/like", at=start, option=name, reason=reason)
        else:
            shown = right if len(right) <= 80 else f"{right[:80]}…"
            self._note("json", (start, start + len(raw), right), option=name, reason=reason, plain=shown)


_STARS = Rule(
    r"(?<=[?&])stars(?:>=?|=>=?|=)\s*([1-4])(?:\+|(?<=>[1-4])|(?<=>=[1-4]))",
    lambda match: f"stars={','.join(str(star) for star in range(int(match[1]), 6))}",
    "stars= takes each number of stars: write {plain}.",
)


def _json_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the JSON of ``:headers`` and ``:body`` stands, closed or not."""
    for match in re.finditer(r":(?:headers|body)\s+(?=[{\[])", text):
        depth = 0
        for brace in re.compile(r"[{}\[\]]").finditer(text, match.end()):
            depth += 1 if brace.group() in "{[" else -1
            if depth == 0:
                yield match.end(), brace.end()
                break
        else:
            following = _OPTION.search(text, match.end())
            yield match.end(), following.start() if following else len(text)


def _reason(raw: str) -> str:
    """Say why a text is no JSON object, or nothing when it is one; Liquid in it counts as text."""
    text = re.sub(r"(?<=[:,\[])\s*\{\{.*?\}\}\}?", '"x"', raw)
    text = _OUTPUT.sub("x", text)
    try:
        value = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        if "'" in text and '"' not in text:
            return "its names and values stand in single quotes, JSON has double ones"
        if re.search(r",\s*[}\]]", text):
            return "a comma stands before the closing brace"
        if not text.startswith(("{", "[")):
            return "it does not begin with {"
        return next((said for start, said in TABLES["json_errors"] if error.msg.startswith(start)), "")
    except RecursionError:
        return "it is nested too deeply"
    return "" if isinstance(value, (dict, list)) else "it is no object in braces"


def _mended(raw: str) -> str | None:
    """Return ``raw`` made JSON by what usually is missing, or None."""
    outputs: list[str] = []

    def cover(match: re.Match[str]) -> str:
        outputs.append(match.group())
        return f"\ufdd0{len(outputs) - 1}\ufdd1"

    text = _OUTPUT.sub(cover, raw)
    steps: tuple[Callable[[str], str], ...] = (
        lambda text: text.strip(" ;,"),
        lambda text: re.sub(r"'([^'\"]*)'", r'"\1"', text),
        lambda text: text if text.startswith(("{", "[")) else f"{{{text}",
        lambda text: text + "}" * (text.count("{") - text.count("}")),
        lambda text: re.sub(r"\s*=>?\s*(?=[\"\w\ufdd0])(?=[^\"]*(?:\"[^\"]*\"[^\"]*)*$)", ": ", text),
        lambda text: re.sub(r"([{,]\s*)([\w-]+)\s*:", r'\1"\2":', text),
        lambda text: re.sub(r'(:\s*)([^"\s{\[][^,}"]*?)(\s*[,}])', r'\1"\2"\3', text),
        lambda text: re.sub(r";(\s*\")", r",\1", text),
        lambda text: re.sub(r"(\"[^\"]*\")(\s+)(\"[^\"]*\"\s*:)", r"\1,\2\3", text),
        lambda text: re.sub(r",(\s*[}\]])", r"\1", text),
        lambda text: text.removesuffix("}") if text.count("}") > text.count("{") else text,
    )
    for step in steps:
        text = step(text)
        right = re.sub("\ufdd0(\\d+)\ufdd1", lambda match: outputs[int(match[1])], text)
        if not _reason(right):
            return right
    return None
