"""What is wrong with how a ``connected_content`` tag is written: its address, its options, its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches

from proxy.preview.braze import CALL_FLAGS, CALL_OPTIONS
from proxy.preview.findings import MEANT, RULES, Draft, Markup, Rule, covered, examined

_OPTION = re.compile(rf":\s*({'|'.join(sorted(CALL_OPTIONS, key=len, reverse=True))})\b")
_OUTPUT = re.compile(r"\{\{.*?\}\}\}?", re.DOTALL)
_UNITS = {60: "m min mins minutes", 3600: "h hour hours", 86400: "d day days"}
_SECONDS = {unit: seconds for seconds, units in _UNITS.items() for unit in units.split()}
_LONGEST = 14_400  # Braze: four hours
_EXAMPLES = {"save": "product", "method": "get", "basic_auth": "reviews_proxy", "auth_credentials": "reviews_proxy"}
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
        """Note everything that is wrong."""
        words = [match.span() for match in re.finditer(r"\S+", self._covered.rstrip(" -"))]
        if not words or self._covered.startswith(tuple(f":{option}" for option in CALL_OPTIONS), words[0][0]):
            message = f"connected_content has no address: write one first, such as {_EXAMPLE}."
            self._note("address", message, (0, 0, f" {_EXAMPLE} "), fix="Write an address")
            return
        words = self._address(words)
        self._options(words)
        for name in ("headers", "body"):
            self._json(name)

    def _note(self, kind: str, message: str, *edits: tuple[int, int, str], fix: str = "", at: int = 0) -> None:
        """Note a finding at its first edit, or at ``at``; the places are those in the tag's text."""
        made = [self._markup.edit((start, end), text) for start, end, text in edits]
        self._draft.note(kind, message, *made, fix=fix, at=self._markup.at + at if at else None)

    def _apart(self, message: str, at: int) -> None:
        self._note("option", f"{message}: put a space between them.", (at, at, " "), fix="Put a space there")

    def _word(self, word: tuple[int, int]) -> str:
        return self._text[slice(*word)]

    # ---- The address

    def _address(self, words: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Look at the address and return the words after it."""
        start, end = words[0]
        if self._covered[start:end].lower() == "content" and len(words) > 1:
            # {% connected content … %}, whose first word has been put right already
            edit = start, words[1][0], ""
            self._note("address", "connected_content is one word.", edit, fix="Take it out")
            words = words[1:]
            start, end = words[0]
        if glued := _OPTION.search(self._covered, start + 8, end):
            at = glued.start()
            message = f":{glued[1]} stands against the address: put a space before it."
            self._note("option", message, (at, at, " "), fix="Put a space there")
            words = [(start, at), (at, end), *words[1:]]
            end = at
        after = 1
        while after < len(words) and not self._is_option(words[after]):
            gap = (words[after - 1][1], words[after][0])
            here, there = self._covered[gap[0] - 1], self._covered[gap[1]]
            between = "" if here in "=&?/," or there in "&?/,=" else "%20"
            message = "The address has a space in it, and ends there for Braze: close it up, or write %20."
            self._note("address", message, (*gap, between), fix="Close it up")
            after += 1
        url = self._text[start:end]
        if url[0] in "'\"":
            last = end - 1 if url[-1] in "'\"" and len(url) > 1 else end
            message = "The address stands in quotes, and Braze takes them for a part of it: leave them out."
            self._note("address", message, (start, start + 1, ""), (last, end, ""), fix="Take the quotes off")
        address = self._markup.part(start, end)
        self._draft.apply("address", [*RULES["address"], _STARS], address, url, each=True)
        self._marks(start, self._covered[start:end])
        return words[after:]

    def _marks(self, start: int, url: str) -> None:
        """Look at what parts the parameters of the address."""
        marks = [start + match.start() for match in re.finditer(r"\?", url)]
        if len(marks) > 1:
            message = "The address has more than one ?: the second and later ones are &."
            self._note("address", message, *((mark, mark + 1, "&") for mark in marks[1:]))
        elif not marks and (ampersand := url.find("&")) > 0:
            edit = start + ampersand, start + ampersand + 1, "?"
            self._note("address", "The address has parameters but no ?: the first & is a ?.", edit)
        for match in re.finditer(r"&&+", url):
            edit = start + match.start(), start + match.end(), "&"
            self._note("address", "Two & stand where one belongs.", edit, fix="Write one &")

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
                message = f"Options are parted by spaces, not by {text}."
                self._note("option", message, (start, end, ""), fix="Take it out")
                continue
            if text == ":" and at < len(words):
                message = f"The colon stands before the name without a space: :{self._word(words[at])}."
                self._note("option", message, (start + 1, words[at][0], ""), fix="Close it up", at=start)
                start, end = words[at]
                text = f":{self._covered[start:end]}"
                start -= 1
                at += 1
            elif not text.startswith(":"):
                plain = text.lstrip("-").strip(",;")
                before = words[at - 3 : at - 1]
                if len(before) == 2 and self._word(before[0]) == ":save" and self._word(before[1]) == "as":
                    edits = (*before[1], ""), (before[1][1], start, "")
                    message = f":save takes the name alone: write :save {plain}."
                    self._note("option", message, *edits, fix=f"Write :save {plain}", at=start)
                    continue
                if plain not in CALL_OPTIONS:
                    message = f"{self._text[start:end][:40]} belongs to no option: take it out, or write "
                    message += "the option’s name before it."
                    self._note("option", message, (start, end, ""), fix="Take it out")
                    continue
                message = f"The name of an option begins with a colon: write :{plain}."
                text = f":{plain}"
                self._note("option", message, (start, end, text))
            name, extra = self._name(text, start, end)
            if not name:
                while at < len(words) and not self._is_option(words[at]):
                    at += 1
                continue
            if name in given:
                has_value = at < len(words) and not self._is_option(words[at]) and name not in CALL_FLAGS
                last = words[at][1] if has_value else end
                message = f":{name} is given twice: take one out."
                self._note("option", message, (start, last, ""), fix="Take it out")
            given.add(name)
            at = self._value(name, words, at, (start, end), has_value=bool(extra))

    def _name(self, text: str, start: int, end: int) -> tuple[str, str]:
        """Return the option that is and what is written against its name."""
        match = re.match(r":([\w-]+)([,;]?$|.*)", text, re.DOTALL)
        if match is None:
            message = f"{self._text[start:end]} is no option: take it out."
            self._note("option", message, (start, end, ""), fix="Take it out")
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
            self._apart(f"The value stands against :{glued}", start + 1 + len(glued))
            return glued, word[len(glued) :]
        elif nearest:
            name = nearest[0]
        else:
            known = ", ".join(f":{option}" for option in CALL_OPTIONS if option != "accept")
            following = re.compile(r"\s:|\s*$").search(self._covered, end)
            edit = start, following.start() if following else end, ""
            message = f"Braze has no option :{word}; it has {known}. Take it out."
            self._note("option", message, edit, fix="Take it out")
            return "", ""
        if name != word:
            message = f"Braze has no option :{word}; it is :{name}."
            self._note("option", message, (start + 1, name_end, name), fix=f"Write :{name}")
        if rest and rest[0] in "=:,;" and not rest.startswith(":x"):
            edit = name_end, name_end + 1, " " if rest[1:] else ""
            message = f"A space alone stands after :{name}, not {rest[0]}."
            self._note("option", message, edit, fix="Write a space")
        elif rest.startswith(":"):
            self._apart(f"{rest} stands against :{name}", name_end)
        return name, rest.lstrip("=:,;")

    def _value(
        self, name: str, words: list[tuple[int, int]], at: int, option: tuple[int, int], *, has_value: bool
    ) -> int:
        """Look at the value of an option; return the word after it."""
        if at < len(words) and self._covered[slice(*words[at])] in ("=", ":") and not has_value:
            edit = option[1], words[at][1], ""
            message = f"A space alone stands after :{name}."
            self._note("option", message, edit, fix="Take it out", at=words[at][0])
            at += 1
        if name in CALL_FLAGS:
            while at < len(words) and not self._is_option(words[at]):
                leave = f"eave {self._word(words[at])} out"
                edit = words[at - 1][1], words[at][1], ""
                message = f":{name} takes no value: l{leave}."
                self._note("option", message, edit, fix=f"L{leave}", at=words[at][0])
                at += 1
            return at
        if has_value:
            return at
        if at >= len(words) or self._is_option(words[at]):
            if example := _EXAMPLES.get(name):
                message = f":{name} needs a value after it, such as :{name} {example}."
                self._note("option", message, (option[1], option[1], f" {example}"), fix=f"Write :{name} {example}")
            elif name != "cache_max_age":  # Braze: without a number, the usual five minutes
                self._note("option", f":{name} needs a value after it.", (*option, ""), fix="Take it out")
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
            self._apart(f":{glued[1]} stands against {value[: glued.start() - start]}", glued.start())
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
            takes = _TAKES.get(name, "a name without quotes")
            message = f":{name} takes {takes}, not {value[:60]}: write :{name} {right}."
            self._note("option", message, (start, end, right), fix=f"Write :{name} {right}")

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
        message = f":{name} is not JSON: {reason}."
        right = _mended(raw)
        if right is None:
            self._note("json", f'{message} Write it like {{"X-Name": "value"}}.', at=start)
        else:
            shown = right if len(right) <= 80 else f"{right[:80]}…"
            self._note("json", f"{message} Write {shown}", (start, start + len(raw), right), fix="Write it as JSON")


_TAKES = {
    "cache_max_age": "a number of seconds",
    "save": "the name of a variable, of letters, digits and _",
    "method": "get or post",
}
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


_JSON_ERRORS = (
    ("Expecting property name", "a name is not in double quotes"),
    ("Expecting ',' delimiter", "a comma is missing between two values, or the closing brace at the end"),
    ("Expecting ':' delimiter", "a colon is missing between a name and its value"),
    ("Unterminated string", "a quote is not closed"),
    ("Extra data", "something stands after its closing brace"),
    ("", "a value is not in double quotes"),
)


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
        return next((said for start, said in _JSON_ERRORS if error.msg.startswith(start)), "")
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
