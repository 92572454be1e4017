"""The calls of a template: where they stand, and what is wrong with those that Braze would make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

from proxy.preview.braze import CALL_WORDS, CallRecord, Channel, is_boundless, line_of
from proxy.preview.findings import Edit, Finding, Markup, blanked, finding_of, markups, without_unread

_SECRET_HEADER = re.compile(r"authorization|api[-_]?key|token|secret|password", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"[?&](api[-_]?key|key|(?:access_)?token|secret|password)=((?:\{\{\s*'[^']*'.*?\}\}|[^&\s{])+)", re.IGNORECASE
)
_STANDS_FOR_ONE = re.compile(
    r"(?:x+|\*+|\.+|<.*>|\[.*\]|[A-Z]+(?:_[A-Z]+)*(?::[A-Z]+(?:_[A-Z]+)*)?|(?:your|my)[-_ ]?\w*|\w*placeholder\w*)"
)
_CREDENTIALS = {"basic_auth", "auth_credentials"}
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}", re.IGNORECASE)
_PERSONAL = re.compile(r"\$\{(email_address|phone_number|email|phone)\}")
_ALWAYS_NEW = re.compile(r"['\"]now['\"]|\brandom\b", re.IGNORECASE)
_ALWAYS_NEW_NAMES = (
    *("cache_id", "cachebuster", "cache_buster", "cb", "nocache", "rand", "random", "ts", "timestamp", "_"),
)
OF_REVIEWS = ("/v1/reviews", "/v1/products", "/v1/business")
IN_HTML = (*OF_REVIEWS, "/v1/summary")
_MANY_CALLS = 3

_OPTION = re.compile(r"(?<=\s):(\w+)(?:\s+|$)")
_OUTPUT = re.compile(r"\{\{.*?\}\}\}?", re.DOTALL)


def covered(text: str) -> str:
    """Return ``text`` with its outputs covered by x, each character in its place."""
    return _OUTPUT.sub(lambda match: "x" * len(match.group()), text)


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
            return self.in_url((found.end(1), found.end()), value)
        end = len(self.url)
        return self.in_url((end, end), f"{'&' if '?' in self.url else '?'}{name}={value}")

    def without_parameter(self, name: str) -> Edit:
        """Return the edit that takes a parameter out; one that does nothing when it is not there."""
        found = self._parameter(name)
        if found is None:
            return Edit(self.start, self.start, "")
        is_first = found.group().startswith("?")
        end = found.end() + (is_first and self.url.startswith("&", found.end()))
        return self.in_url((found.start() + is_first, end), "")

    def in_url(self, span: tuple[int, int], text: str) -> Edit:
        """Return the edit of a place in the address."""
        return Edit(self.url_at + span[0], self.url_at + span[1], text)

    def renamed(self, name: str, right: str) -> Edit | None:
        """Return the edit that calls a parameter otherwise, None where there is no such one."""
        found = self._parameter(name)
        return self.in_url((found.start() + 1, found.end(1) - 1), right) if found else None

    def with_option(self, name: str, value: str) -> Edit:
        """Return the edit that gives an option a value, at the end of the tag where it has none yet."""
        if name in self.options:
            start, end, _ = self.options[name]
            return Edit(start, end, f":{name} {value}")
        end = max([self.url_at + len(self.url), *(end for _, end, _ in self.options.values())])
        return Edit(end, end, f" :{name} {value}")

    def without_option(self, name: str) -> Edit:
        """Return the edit that takes an option out; one that does nothing when it is not there."""
        if name not in self.options:
            return Edit(self.start, self.start, "")
        start, end, _ = self.options[name]
        return Edit(start - 1, end, "")

    def outputs(self) -> Iterator[tuple[str, Markup]]:
        """Yield each output of the address with the parameter it fills."""
        for name, start, end in self._given():
            for match in _OUTPUT.finditer(self.url, start, end):
                inner = match.group()[2:-2] if "${" in match.group() else match.group()[2:].rstrip("}")
                at = self.url_at + match.start()
                yield name, Markup("", at, self.url_at + match.end(), inner, at + 2)

    def parameters(self) -> list[tuple[str, str]]:
        """Return the parameters of the address and their values as they are written, Liquid and all."""
        return [(name, self.url[start:end]) for name, start, end in self._given()]

    def _given(self) -> Iterator[tuple[str, int, int]]:
        """Yield each parameter of the address, and where its value begins and ends there."""
        for match in re.finditer(r"[?&]([\w-]+)=([^&#]*)", covered(self.url)):
            yield match[1], match.start(2), match.end(2)

    def _parameter(self, name: str) -> re.Match[str] | None:
        return re.search(rf"([?&]{re.escape(name)}=)[^&#]*", covered(self.url))


def call_tags(text: str) -> list[CallTag]:
    """Return the calls of a template, in the order they are written."""
    tags = []
    for markup in markups(text):
        if markup.name != "connected_content":
            continue
        text_of_tag = covered(markup.inner.rstrip("- \n\t"))
        url = re.match(r"\s*(\S+)", text_of_tag)
        if url is None:
            continue
        names = list(_OPTION.finditer(text_of_tag, url.end()))
        options = {}
        for number, match in enumerate(names):
            end = names[number + 1].start() if number + 1 < len(names) else len(text_of_tag)
            value = markup.inner[match.end() : end].strip()
            if match[1] in CALL_WORDS:
                value = value.split()[0] if value else ""
            stop = match.end() + len(value) if value else match.start() + len(match.group().rstrip())
            options[match[1]] = (markup.at + match.start(), markup.at + stop, value)
        tags.append(
            CallTag(
                line_of(text, markup.start),
                markup.start,
                markup.end,
                markup.inner[url.start(1) : url.end(1)],
                markup.at + url.start(1),
                options,
            )
        )
    return tags


# ---- What is wrong with them


@dataclass(frozen=True)
class Part:
    """A part of a message to look at: how it is written, what it became, and its calls."""

    template: str
    output: str
    calls: Sequence[CallRecord]
    channel: Channel
    is_html: bool

    @property
    def tags(self) -> list[CallTag]:
        """The calls as written."""
        return call_tags(self.template)

    def literal(self) -> str:
        """Return the template with everything that is Liquid blanked out, each character in its place."""
        return blanked(without_unread(self.template), ((one.start, one.end) for one in markups(self.template)))

    def rendered(self, tag: CallTag) -> list[str]:
        """Return the addresses that ``tag`` called."""
        return [call.url for call in self.calls if call.line == tag.line]

    def finding(self, sentence: str, /, *edits: Edit, at: int | None = None, **words: object) -> Finding:
        """Return a finding in this part; see `proxy.preview.findings.finding_of`."""
        return finding_of(self.template, sentence, *edits, at=at, **words)


def has_secret(template: str) -> bool:
    """Tell whether a secret is written in one of the calls, whatever becomes of the message."""
    part = Part(template, "", (), Channel.EMAIL, is_html=False)
    # What can't be looked through may hold one.
    return is_boundless(template) or any(True for tag in part.tags for _ in _secrets(part, tag))


def without_answer(template: str, calls: Sequence[CallRecord]) -> Iterator[Finding]:
    """Tell of calls whose failure leaves holes in the message."""
    failed = {call.line for call in calls if not call.succeeded}
    for tag in call_tags(template):
        is_open = tag.value("on_error") is None and "retry" not in tag.options
        if tag.line in failed and tag.path in IN_HTML and is_open:
            edit = tag.with_parameter("on_error", "empty")
            yield finding_of(template, "no-answer", edit, at=tag.start, variable=tag.variable)


def examine_row(parts: Iterable[tuple[str, Part]]) -> Iterator[tuple[str, Finding]]:
    """Look at how many calls a message makes, one after the other (Braze: Make a Connected Content call)."""
    addresses: dict[str, tuple[str, Part, CallRecord]] = {}
    for name, part in parts:
        for call in part.calls:
            if call.attempts:
                addresses.setdefault(call.url, (name, part, call))
    if len(addresses) >= _MANY_CALLS:
        name, part, call = list(addresses.values())[_MANY_CALLS - 1]
        finding = part.finding("calls-in-a-row", *_one_call(part), at=0, count=len(addresses))
        yield name, replace(finding, line=call.line)


def calls_in_loop(part: Part) -> Iterator[Finding]:
    """Tell of a call that is made again for each item of a list."""
    open_loops: list[Markup] = []
    tags = {tag.start: tag for tag in part.tags}
    for markup in markups(part.template):
        if markup.name == "for":
            open_loops.append(markup)
        elif markup.name == "endfor" and open_loops:
            open_loops.pop()
        tag = tags.get(markup.start)
        if not tag or not open_loops or not 1 < len(set(part.rendered(tag))) < _MANY_CALLS:
            continue
        loop = re.fullmatch(r"\s*(\w+)\s+in\s+(.+?)\s*", open_loops[-1].inner)
        edits: list[Edit] = []
        if loop and tag.path == "/v1/reviews" and len(re.findall(rf"\b{loop[1]}\b", part.template)) == 2:
            listed = f"{{{{{loop[2]} | join: ',' | url_param_escape}}}}"
            asked = part.template[tag.start : tag.end].replace(str(tag.value("sku")), listed)
            asked = asked.replace("/v1/reviews?sku=", "/v1/products?skus=")
            asked = asked.replace(f":save {tag.variable}", ":save asked")
            written = f"{asked}{{% for {tag.variable} in asked.products %}}"
            edits = [open_loops[-1].whole(written), Edit(tag.start, tag.end, "")]
        yield part.finding("calls-in-a-row/loop", *edits, at=tag.start)


def _one_call(part: Part) -> tuple[Edit, ...]:
    """Return the edits that make one call of several for one product each."""
    tags = [tag for tag in part.tags if tag.path == "/v1/reviews" and tag.value("sku") and "save" in tag.options]
    if len(tags) < 2 or len({tag.url.split("?")[1].replace(str(tag.value("sku")), "") for tag in tags}) > 1:
        return ()
    first = tags[0]
    skus = ",".join(str(tag.value("sku")) for tag in tags)
    url = first.url.replace("/v1/reviews", "/v1/products").replace(f"sku={first.value('sku')}", f"skus={skus}")
    names = "".join(f"{{% assign {tag.variable} = asked.products[{at}] %}}" for at, tag in enumerate(tags))
    return (
        first.in_url((0, len(first.url)), url),
        first.with_option("save", "asked"),
        Edit(first.end, first.end, names),
        *(Edit(tag.start, tag.end, "") for tag in tags[1:]),
    )


def examine_calls(part: Part) -> Iterator[Finding]:
    """Look at each call, and at those that meet in one variable."""
    for tag in part.tags:
        yield from _address(part, tag)
        yield from _secrets(part, tag)
        yield from _assigned_secret(part, tag)
        yield from _kept_errors(part, tag)
    saved: dict[str, CallTag] = {}
    for tag in part.tags:
        before, other = saved.get(tag.variable), f"{tag.variable}_2"
        if before and not re.search(rf"\b{tag.variable}\b", part.template[before.end : tag.start]):
            edit = tag.with_option("save", other)
            yield part.finding(
                "overwritten", edit, at=tag.start, variable=tag.variable, line=before.line, other=other
            )
        saved[tag.variable] = tag


def _address(part: Part, tag: CallTag) -> Iterator[Finding]:
    if re.match(r"http://(?!127\.|localhost|\[::1\])", tag.url, re.IGNORECASE):
        yield part.finding("http", tag.in_url((0, len("http")), "https"), at=tag.start)
    outputs = list(tag.outputs())
    for name, output in outputs:
        if _PERSONAL.search(output.inner):
            yield _personal(part, tag, name)
        if not re.search(r"\burl_(?:param_escape|encode)\b", output.inner):
            written = part.template[output.start : output.end]
            edit = output.adding(" | url_param_escape")
            yield part.finding("not-escaped", edit, at=tag.start, name=name, written=written)
    new = [(name, "makes every address a new one") for name in _ALWAYS_NEW_NAMES if tag.value(name) is not None]
    changing = [name for name, output in outputs if _ALWAYS_NEW.search(output.inner)]
    new += [(name, "changes from second to second") for name in changing if name not in _ALWAYS_NEW_NAMES]
    for name, does in new:
        yield part.finding("never-cached", tag.without_parameter(name), at=tag.start, name=name, does=does)
    for url in part.rendered(tag)[:1]:
        yield from _rendered_address(part, tag, url)


def _rendered_address(part: Part, tag: CallTag, url: str) -> Iterator[Finding]:
    given = query_of(url)
    for name, values in given.items():
        if any(_EMAIL.search(value) for value in values) and not _PERSONAL.search(str(tag.value(name))):
            yield _personal(part, tag, name)
    written = str(tag.value("sku") or "")
    single = written.count("{{") == 1 and not re.search(r"\b(?:join|map|split)\b", written) and "," not in written
    sku = ",".join(given.get("sku", []))
    if single and "," in sku:
        output = next(output for name, output in tag.outputs() if name == "sku")
        escape = re.search(r"\s*\|\s*url_(?:param_escape|encode)", output.inner)
        first = " | split: ',' | first"
        edit = output.edit((escape.start(), escape.start()), first) if escape else output.adding(first)
        count = sku.count(",") + 1
        yield part.finding("comma-in-sku", edit, at=tag.start, sku=sku[:60], count=count, first=first)


def query_of(url: str) -> dict[str, list[str]]:
    """Return the parameters of an address; `urlsplit` refuses those that can't be called."""
    return parse_qs(url.partition("?")[2].partition("#")[0])


def _personal(part: Part, tag: CallTag, name: str) -> Finding:
    return part.finding("personal-data", tag.without_parameter(name), at=tag.start, name=name)


def _secrets(part: Part, tag: CallTag) -> Iterator[Finding]:
    def secret(option: str, *edits: Edit) -> Finding:
        return part.finding("secret", *edits, at=tag.start, option=option)

    def naming(option: str) -> list[Edit]:
        return [] if _CREDENTIALS & tag.options.keys() else [tag.with_option(option, "reviews_proxy")]

    basic = tag.value("basic_auth") or ""
    if "basic_auth" in tag.options and ":" in basic and "{{" not in basic:
        yield secret("basic_auth", tag.with_option("basic_auth", "reviews_proxy"))
    if user := re.match(r"(https?://)([^/@\s:{]+:[^/@\s{]+)@", tag.url):
        named = [] if "basic_auth" in tag.options else [tag.with_option("basic_auth", "reviews_proxy")]
        yield secret("basic_auth", tag.in_url((user.end(1), user.end()), ""), *named)
    for match in _SECRET_PARAMETER.finditer(tag.url):
        if not _STANDS_FOR_ONE.fullmatch(match[2]):
            yield secret("auth_credentials", tag.without_parameter(match[1]), *naming("auth_credentials"))
    start, end, value = tag.options.get("headers", (0, 0, ""))
    pairs = re.findall(r'"([^"]*)"\s*:\s*"((?:\{\{.*?\}\}|[^"])*)"', value)
    names = [name for name, content in pairs if _SECRET_HEADER.search(name) and _is_secret(content)]
    if names:
        rest = {name: content for name, content in pairs if name not in names}
        written = [f":headers {json.dumps(rest, ensure_ascii=False)}"] if rest else []
        stored = [] if _CREDENTIALS & tag.options.keys() else [":auth_credentials reviews_proxy"]
        yield secret("auth_credentials", Edit(start, end, " ".join([*written, *stored])))


def _is_secret(value: str) -> bool:
    value = re.sub(r"^(?:Basic|Bearer|Token)\s+", "", value.strip())
    quoted = re.search(r"\{\{\s*['\"]([^'\"]*)['\"]", value)
    rest = quoted[1] if quoted else re.sub(r"\{\{.*?\}\}\}?", "", value)
    return len(rest) >= 4 and not _STANDS_FOR_ONE.fullmatch(rest)


def _assigned_secret(part: Part, tag: CallTag) -> Iterator[Finding]:
    """Tell of a secret that is set above and named in the headers."""
    for name in re.findall(r"\{\{\s*(\w+)\s*\}\}", tag.options.get("headers", (0, 0, ""))[2]):
        pattern = rf"\{{%-?\s*assign\s+{name}\s*=\s*(['\"])((?:(?!\1).)+)\1\s*-?%\}}"
        if (given := re.search(pattern, part.template)) and _is_secret(given[2]):
            named = tag.with_option("auth_credentials", "reviews_proxy")
            yield part.finding("secret/assigned", Edit(*given.span(), ""), tag.without_option("headers"), named)


def _kept_errors(part: Part, tag: CallTag) -> Iterator[Finding]:
    if "no_cache" in tag.options:
        yield part.finding("never-cached/option", tag.without_option("no_cache"), at=tag.start)
    seconds = tag.value("cache_max_age") or ""
    if tag.value("on_error") == "empty" and seconds.isdecimal() and int(seconds) > 300:
        edit = tag.without_option("cache_max_age")
        yield part.finding("kept-error", edit, at=tag.start, seconds=seconds, minutes=int(seconds) // 60)


def too_large(part: Part) -> Iterator[Finding]:
    """Tell of answers that Braze refuses for their size."""
    lines = {call.line for call in part.calls if call.outcome.startswith("over 1 MB")}
    for tag in part.tags:
        if tag.line not in lines:
            continue
        name, value = ("perPage", "20") if "/product-reviews/" in tag.path else ("limit", "3")
        edit = tag.with_parameter(name, value)
        if name == "limit" and tag.value("max_chars") is None:
            edit = Edit(edit.start, edit.end, f"{edit.text}&max_chars=240")
        yield part.finding("too-large", edit, at=tag.start, name=name, value=value)
