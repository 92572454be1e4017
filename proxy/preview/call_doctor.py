"""What is wrong with how a ``connected_content`` tag is written: its address, its options, its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches

from proxy.preview.findings import Draft, Edit, Markup, markups

FLAGS = ("retry", "no_cache", "rerender")
OPTIONS = (
    *(
        "save",
        "method",
        "content_type",
        "basic_auth",
        "auth_credentials",
        "cache_max_age",
        "headers",
        "body",
        "accept",
    ),
    *FLAGS,
)
_OTHER_OPTIONS = {
    **dict.fromkeys(
        ("save_as", "saveas", "store", "assign", "as", "variable", "var", "into", "result", "name"), "save"
    ),
    **dict.fromkeys(
        ("auth", "basicauth", "basic", "credentials", "basic_authentication", "authentication"), "basic_auth"
    ),
    **dict.fromkeys(
        ("cache", "max_age", "cache_time", "cache_age", "maxage", "ttl", "cache_seconds", "cache_for"),
        "cache_max_age",
    ),
    **dict.fromkeys(("nocache", "no_store", "dont_cache"), "no_cache"),
    **dict.fromkeys(("header", "http_headers"), "headers"),
    **dict.fromkeys(("verb", "http_method", "type", "request"), "method"),
    **dict.fromkeys(("contenttype", "content", "mime"), "content_type"),
    **dict.fromkeys(("retries", "retry_on_error"), "retry"),
    **dict.fromkeys(("data", "payload"), "body"),
}
_OPTION = re.compile(rf":\s*({'|'.join(sorted(OPTIONS, key=len, reverse=True))})\b")
_OUTPUT = re.compile(r"\{\{.*?\}\}\}?", re.DOTALL)
_SECONDS = {
    "s": 1,
    "sec": 1,
    "secs": 1,
    "seconds": 1,
    "m": 60,
    "min": 60,
    "mins": 60,
    "minutes": 60,
    "h": 3600,
    "hour": 3600,
    "hours": 3600,
    "d": 86400,
    "day": 86400,
    "days": 86400,
}
_LONGEST = 14_400  # Braze: four hours
_EXAMPLE = "https://reviews.example.com/v1/reviews?sku={{event_properties.${item_sku} | url_param_escape}}"


def examine_calls(draft: Draft) -> None:
    """Look at every call of a template."""
    for markup in markups(draft.text):
        if markup.name == "connected_content":
            _Call(draft, markup).examine()


class _Call:
    """One tag: its text, and the same with everything that may hold spaces or colons covered."""

    def __init__(self, draft: Draft, markup: Markup) -> None:
        self._draft = draft
        self._markup = markup
        self._text = markup.inner
        covered = _OUTPUT.sub(lambda match: "x" * len(match.group()), markup.inner)
        for start, end in _json_spans(covered):
            covered = covered[:start] + "x" * (end - start) + covered[end:]
        self._covered = covered

    def examine(self) -> None:
        """Note everything that is wrong."""
        words = [(match.start(), match.end()) for match in re.finditer(r"\S+", self._covered.rstrip(" -"))]
        if not words or (
            self._covered[words[0][0]] == ":"
            and self._covered[words[0][0] :].startswith(tuple(f":{o}" for o in OPTIONS))
        ):
            message = f"connected_content has no address: write one first, such as {_EXAMPLE}."
            self._note("address", 0, message, "Write an address", (0, 0, f" {_EXAMPLE} "))
            return
        words = self._address(words)
        self._options(words)
        for name in ("headers", "body"):
            self._json(name)

    def _note(self, kind: str, at: int, message: str, fix: str, *edits: tuple[int, int, str]) -> None:
        start = self._markup.at
        made = (Edit(start + begin, start + end, text) for begin, end, text in edits)
        self._draft.note(kind, start + at, message, fix, *made)

    # ---- The address

    def _address(self, words: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Look at the address and return the words after it."""
        start, end = words[0]
        if self._covered[start:end].lower() == "content" and len(words) > 1:
            # {% connected content … %}, whose first word has been put right already
            self._note("address", start, "connected_content is one word.", "Take it out", (start, words[1][0], ""))
            start, end = words[1]
            words = words[1:]
        if glued := _OPTION.search(self._covered, start + 8, end):
            self._note(
                "option",
                glued.start(),
                f":{glued[1]} stands against the address: put a space before it.",
                "Put a space there",
                (glued.start(), glued.start(), " "),
            )
            words = [(start, glued.start()), (glued.start(), end), *words[1:]]
            end = glued.start()
        after = 1
        while after < len(words) and not self._is_option(words[after]):
            gap = (words[after - 1][1], words[after][0])
            here, there = self._covered[gap[0] - 1], self._covered[words[after][0]]
            between = "" if here in "=&?/," or there in "&?/,=" else "%20"
            self._note(
                "address",
                gap[0],
                "The address has a space in it, and ends there for Braze: close it up, or write %20.",
                "Close it up",
                (*gap, between),
            )
            after += 1
        url = self._text[start:end]
        self._quotes(url, start, end)
        for pattern, written, message in _ADDRESS:
            if match := re.search(pattern, url):
                right = match.expand(written)
                self._note(
                    "address",
                    start,
                    message.format(found=match.group().strip(), right=right),
                    f"Write {right}",
                    (start + match.start(), start + match.end(), right),
                )
        self._parameters(start, end)
        covered = self._covered[start:end]
        marks = [match.start() for match in re.finditer(r"\?", covered)]
        if len(marks) > 1:
            edits = [(start + mark, start + mark + 1, "&") for mark in marks[1:]]
            self._note(
                "address",
                start,
                "The address has more than one ?: the second and later ones are &.",
                "Write &",
                *edits,
            )
        elif not marks and (ampersand := covered.find("&")) > 0:
            self._note(
                "address",
                start,
                "The address has parameters but no ?: the first & is a ?.",
                "Write ?",
                (start + ampersand, start + ampersand + 1, "?"),
            )
        for match in re.finditer(r"&&+", covered):
            self._note(
                "address",
                start,
                "Two & stand where one belongs.",
                "Write one &",
                (start + match.start(), start + match.end(), "&"),
            )
        return words[after:]

    def _parameters(self, start: int, end: int) -> None:
        """Look at what is given in the address."""
        url = self._text[start:end]
        rules: tuple[tuple[str, str | Callable[[re.Match[str]], str], str], ...] = (
            (
                r"=(['\"])([^'\"&{}]*)\1(?=&|$)",
                r"=\2",
                "The value stands in quotes, and they become a part of it: write {right}.",
            ),
            (r"(?<=\w),(?=&|$)", "", "A comma stands behind the last value, as if one more followed: take it out."),
            (r";(?=\w+=)", "&", "Parameters are parted by &, not by ;: write &."),
            (
                r"(?<=[?&])stars(?:>=?|=>=?|=)\s*([1-4])(?:\+|(?<=>[1-4])|(?<=>=[1-4]))",
                lambda m: f"stars={','.join(str(star) for star in range(int(m[1]), 6))}",
                "stars= takes each number of stars: write {right}.",
            ),
        )
        for pattern, written, message in rules:
            for match in re.finditer(pattern, url):
                right = match.expand(written) if isinstance(written, str) else written(match)
                self._note(
                    "address",
                    start + match.start(),
                    message.format(right=right.lstrip("=")),
                    f"Write {right.lstrip('=')}" if right else "Take it out",
                    (start + match.start(), start + match.end(), right),
                )

    def _quotes(self, url: str, start: int, end: int) -> None:
        if url[0] in "'\"":
            last = (end - 1, end, "") if url[-1] in "'\"" and len(url) > 1 else (end, end, "")
            self._note(
                "address",
                start,
                "The address stands in quotes, and Braze takes them for a part of it: leave them out.",
                "Take the quotes off",
                (start, start + 1, ""),
                last,
            )

    # ---- The options

    def _is_option(self, word: tuple[int, int]) -> bool:
        text = self._covered[word[0] : word[1]]
        return text.startswith((":", "--")) or text.strip(",;") in OPTIONS or text in ",;"

    def _options(self, words: list[tuple[int, int]]) -> None:
        given: set[str] = set()
        at = 0
        while at < len(words):
            start, end = words[at]
            text = self._covered[start:end]
            at += 1
            if text in (",", ";"):
                self._note(
                    "option", start, f"Options are parted by spaces, not by {text}.", "Take it out", (start, end, "")
                )
                continue
            if text == ":" and at < len(words):
                self._note(
                    "option",
                    start,
                    f"The colon stands before the name without a space: :{self._word(words[at])}.",
                    "Close it up",
                    (start + 1, words[at][0], ""),
                )
                start, end = words[at]
                text = f":{self._covered[start:end]}"
                start -= 1
                at += 1
            elif not text.startswith(":"):
                plain = text.lstrip("-").strip(",;")
                before = words[at - 3 : at - 1]
                if len(before) == 2 and self._word(before[0]) == ":save" and self._word(before[1]) == "as":
                    self._note(
                        "option",
                        start,
                        f":save takes the name alone: write :save {plain}.",
                        f"Write :save {plain}",
                        (*before[1], ""),
                        (before[1][1], start, ""),
                    )
                    continue
                if plain not in OPTIONS:
                    self._note(
                        "option",
                        start,
                        f"{self._text[start:end][:40]} belongs to no option: take it out, or write "
                        "the option’s name before it.",
                        "Take it out",
                        (start, end, ""),
                    )
                    continue
                self._note(
                    "option",
                    start,
                    f"The name of an option begins with a colon: write :{plain}.",
                    f"Write :{plain}",
                    (start, end, f":{plain}"),
                )
                text = f":{plain}"
            name, extra = self._name(text, start, end)
            if not name:
                while at < len(words) and not self._is_option(words[at]):
                    at += 1
                continue
            if name in given:
                last = (
                    words[at][1] if at < len(words) and not self._is_option(words[at]) and name not in FLAGS else end
                )
                self._note(
                    "option", start, f":{name} is given twice: take one out.", "Take it out", (start, last, "")
                )
            given.add(name)
            at = self._value(name, words, at, (start, end), has_value=bool(extra))

    def _word(self, word: tuple[int, int]) -> str:
        return self._text[word[0] : word[1]]

    def _name(self, text: str, start: int, end: int) -> tuple[str, str]:
        """Return the option that is meant, and what is written against its name."""
        match = re.match(r":([\w-]+)([,;]?$|.*)", text, re.DOTALL)
        if match is None:
            self._note(
                "option",
                start,
                f"{self._text[start:end]} is no option: take it out.",
                "Take it out",
                (start, end, ""),
            )
            return "", ""
        word, rest = match[1], match[2]
        plain = word.lower().replace("-", "_")
        name_end = start + 1 + len(word)
        glued = next((o for o in sorted(OPTIONS, key=len, reverse=True) if plain.startswith(o) and plain != o), "")
        nearest = get_close_matches(plain, OPTIONS, 1, 0.75)
        if plain in OPTIONS:
            name = plain
        elif plain in _OTHER_OPTIONS:
            name = _OTHER_OPTIONS[plain]
        elif glued and (not nearest or nearest[0] == glued) and len(plain) - len(glued) > 1:
            cut = start + 1 + len(glued)
            self._note(
                "option",
                start,
                f"The value stands against :{glued}: put a space between them.",
                "Put a space there",
                (cut, cut, " "),
            )
            return glued, word[len(glued) :]
        elif nearest:
            name = nearest[0]
        else:
            known = ", ".join(f":{option}" for option in OPTIONS if option != "accept")
            message = f"Braze has no option :{word}; it has {known}. Take it out."
            self._note("option", start, message, "Take it out", (start, self._until_option(end), ""))
            return "", ""
        if name != word:
            self._note(
                "option",
                start,
                f"Braze has no option :{word}; it is :{name}.",
                f"Write :{name}",
                (start + 1, name_end, name),
            )
        if rest and rest[0] in "=:,;" and not rest.startswith(":x"):
            cut = name_end + 1
            space = " " if rest[1:] else ""
            self._note(
                "option",
                name_end,
                f"A space alone stands after :{name}, not {rest[0]}.",
                "Write a space",
                (name_end, cut, space),
            )
        elif rest.startswith(":"):
            self._note(
                "option",
                name_end,
                f"{rest} stands against :{name}: put a space between them.",
                "Put a space there",
                (name_end, name_end, " "),
            )
        return name, rest.lstrip("=:,;")

    def _until_option(self, start: int) -> int:
        following = re.compile(r"\s:|\s*$").search(self._covered, start)
        return following.start() if following else start

    def _value(
        self, name: str, words: list[tuple[int, int]], at: int, option: tuple[int, int], *, has_value: bool
    ) -> int:
        """Look at the value of an option; return the word after it."""
        if at < len(words) and self._covered[slice(*words[at])] in ("=", ":") and not has_value:
            self._note(
                "option",
                words[at][0],
                f"A space alone stands after :{name}.",
                "Take it out",
                (option[1], words[at][1], ""),
            )
            at += 1
        if name in FLAGS:
            while at < len(words) and not self._is_option(words[at]):
                value = self._word(words[at])
                self._note(
                    "option",
                    words[at][0],
                    f":{name} takes no value: leave {value} out.",
                    f"Leave {value} out",
                    (words[at - 1][1], words[at][1], ""),
                )
                at += 1
            return at
        if has_value:
            return at
        if at >= len(words) or self._is_option(words[at]):
            if name == "cache_max_age":
                return at  # Braze: without a number, the usual five minutes
            written = {
                "save": "product",
                "method": "get",
                "basic_auth": "reviews_proxy",
                "auth_credentials": "reviews_proxy",
            }.get(name, "")
            message = f":{name} needs a value after it" + (f", such as :{name} {written}." if written else ".")
            edits = [(option[1], option[1], f" {written}")] if written else [(*option, "")]
            self._note("option", option[0], message, f"Write :{name} {written}" if written else "Take it out", *edits)
            return at
        start, end = words[at]
        at += 1
        if name not in ("headers", "body"):
            self._check_word(name, start, end)
            return at
        while at < len(words) and not self._is_option(words[at]):
            at += 1
        return at

    def _check_word(self, name: str, start: int, end: int) -> None:
        value = self._text[start:end]
        if glued := _OPTION.search(self._covered, start, end):
            here = glued.start()
            self._note(
                "option",
                here,
                f":{glued[1]} stands against {value[: here - start]}: put a space between them.",
                "Put a space there",
                (here, here, " "),
            )
            return
        right = value.strip(",;").strip("'\"").strip(",;=")
        match name:
            case "save":
                right = right.strip("{}$ ")
                right = re.sub(r"\W", "_", right.partition(".")[0]) or "product"
                right = f"r_{right}" if right[0].isdigit() else right
            case "cache_max_age":
                found = re.fullmatch(r"(\d+)\s*([a-z]*)", right.lower())
                if "{{" not in right:
                    seconds = int(found[1]) * _SECONDS.get(found[2], 1) if found else 300
                    seconds = min(seconds, _LONGEST) if found and found[2] else seconds
                    right = str(seconds)
            case "method":
                if "{{" not in right and right.lower() not in ("get", "post"):
                    right = "get"
        if right != value:
            self._note(
                "option",
                start,
                f":{name} takes {_TAKES.get(name, 'a name without quotes')}, not {value[:60]}: write "
                f":{name} {right}.",
                f"Write :{name} {right}",
                (start, end, right),
            )

    # ---- JSON

    def _json(self, name: str) -> None:
        match = re.search(rf":{name}\s+", self._covered)
        if match is None:
            return
        following = _OPTION.search(self._covered, match.end())
        end = following.start() if following else len(self._covered)
        raw = self._text[match.end() : end].rstrip(" \n\r\t-,")
        if name == "body" and raw[:1] not in ("{", "[", "'"):
            return
        reason = _reason(raw)
        if not reason:
            return
        right = _mended(raw)
        start = match.end()
        message = f":{name} is not JSON: {reason}."
        if right is None:
            self._note("json", start, f'{message} Write it like {{"X-Name": "value"}}.', "")
        else:
            shown = right if len(right) <= 80 else f"{right[:80]}…"
            self._note(
                "json", start, f"{message} Write {shown}", "Write it as JSON", (start, start + len(raw), right)
            )


_TAKES = {
    "cache_max_age": "a number of seconds",
    "save": "the name of a variable, of letters, digits and _",
    "method": "get or post",
}
_ADDRESS = (
    (r"^(https?:/+)(?:https?:/+)+", r"\1", "The address begins twice with https://: write it once."),
    (
        r"(?<=[=/,])\$\{\s*(event_properties|custom_attribute|api_trigger_properties|context)\.([^{}]+?)\s*\}",
        r"{{\1.${\2}}}",
        "{found} has its braces in the wrong places and would be sent as it is: write {right}.",
    ),
    (
        r"(?<=[=/,])(\w+\.\$\{[^{}]+\})(?!\})",
        r"{{\1}}",
        "{found} stands without its outer braces and would be sent as it is: write {right}.",
    ),
    (
        r"^['\"]?(?!https?://|\{\{)(?:htt?p?s?:?[/\\]{0,2}(?=[\w-]+\.)|//)?(?=[\w-]+(?:\.[\w-]+)+[/:?])",
        "https://",
        "The address begins with https://; Braze calls nothing without it.",
    ),
    (
        r"(?<=[=/])\$\{\s*([^{}]+?)\s*\}",
        r"{{${\1}}}",
        "{found} stands without its outer braces and would be sent as it is: write {right}.",
    ),
    (
        r"(?<=[=/,])\{(?!\{)\s*([\w.]+(?:\.?\$\{[^{}]*\})?(?:\s*\|[^{}]*)?)\s*\}(?!\})",
        r"{{\1}}",
        "{found} has single braces and would be sent as it is: write {right}.",
    ),
    (
        r"\{\{((?:(?!\}\}).)*\$\{[^{}]*)\}\}(?!\})",
        r"{{\1}}}",
        "{found} is short of one closing brace: write {right}.",
    ),
)


def _json_spans(covered: str) -> Iterator[tuple[int, int]]:
    """Yield where the JSON of ``:headers`` and ``:body`` stands, closed or not."""
    for match in re.finditer(r":(?:headers|body)\s+(?=[{\[])", covered):
        depth = 0
        for brace in re.compile(r"[{}\[\]]").finditer(covered, match.end()):
            depth += 1 if brace.group() in "{[" else -1
            if depth == 0:
                yield match.end(), brace.end()
                break
        else:
            following = _OPTION.search(covered, match.end())
            yield match.end(), following.start() if following else len(covered)


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
        if error.msg.startswith("Expecting property name"):
            return "a name is not in double quotes"
        if error.msg.startswith("Expecting ',' delimiter"):
            return "a comma is missing between two values, or the closing brace at the end"
        if error.msg.startswith("Expecting ':' delimiter"):
            return "a colon is missing between a name and its value"
        if error.msg.startswith("Unterminated string"):
            return "a quote is not closed"
        return (
            "something stands after its closing brace"
            if error.msg == "Extra data"
            else "a value is not in double quotes"
        )
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
