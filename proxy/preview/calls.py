"""The calls of a template: where they stand, and what is wrong with those that Braze would make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qs, quote

from proxy.api import parameters
from proxy.preview.braze import ESCAPING_PATHS, CallRecord, Channel, Mistake, MistakeKind, is_boundless, is_secret
from proxy.preview.findings import (
    MEANT,
    TABLES,
    CallTag,
    Edit,
    Finding,
    Markup,
    blanked,
    call_tags,
    covered,
    finding_of,
    markups,
    on_line,
    without_unread,
)

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
_ALWAYS_NEW_NAMES = TABLES["always_new"].split()
OF_REVIEWS = ("/v1/reviews", "/v1/products", "/v1/business")
_MANY_CALLS = 3


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
        return call_tags(self.template)

    def literal(self) -> str:
        """Return the template with everything that is Liquid blanked out, each character in its place."""
        return blanked(without_unread(self.template), ((one.start, one.end) for one in markups(self.template)))

    def rendered(self, tag: CallTag) -> list[str]:
        return [call.url for call in self.calls if call.line == tag.line]

    def finding(self, sentence: str, /, *edits: Edit, at: int | None = None, **words: Any) -> Finding:
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
        if tag.line in failed and tag.path in ESCAPING_PATHS and is_open:
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
                "overwritten", edit, at=tag.start, variable=tag.variable, before=before.line, other=other
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
    names = [name for name, content in pairs if is_secret(name) and _stands_there(content)]
    if names:
        rest = {name: content for name, content in pairs if name not in names}
        written = [f":headers {json.dumps(rest, ensure_ascii=False)}"] if rest else []
        stored = [] if _CREDENTIALS & tag.options.keys() else [":auth_credentials reviews_proxy"]
        yield secret("auth_credentials", Edit(start, end, " ".join([*written, *stored])))


def _stands_there(value: str) -> bool:
    value = re.sub(r"^(?:Basic|Bearer|Token)\s+", "", value.strip())
    quoted = re.search(r"\{\{\s*['\"]([^'\"]*)['\"]", value)
    rest = quoted[1] if quoted else re.sub(r"\{\{.*?\}\}\}?", "", value)
    return len(rest) >= 4 and not _STANDS_FOR_ONE.fullmatch(rest)


def _assigned_secret(part: Part, tag: CallTag) -> Iterator[Finding]:
    """Tell of a secret that is set above and named in the headers."""
    for name in re.findall(r"\{\{\s*(\w+)\s*\}\}", tag.options.get("headers", (0, 0, ""))[2]):
        pattern = rf"\{{%-?\s*assign\s+{name}\s*=\s*(['\"])((?:(?!\1).)+)\1\s*-?%\}}"
        if (given := re.search(pattern, part.template)) and _stands_there(given[2]):
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


# ---- How a mistake that the rendering tells of is put right

_PATHS = (*ESCAPING_PATHS, "/v1/fragment")
_PARAMETERS = {
    one.name.lower(): one.name
    for one in (*vars(parameters).values(), *parameters.VIEW.values(), parameters.of_imported(default=False))
    if isinstance(one, (parameters.Parameter, parameters.ListParameter))
    and one is not parameters.TRUSTPILOTS_PRODUCT_URL
} | {"business_unit": "business_unit"}
_CHOICES = {
    "sort": ("high|best|rating|star|desc", "highest", "newest"),
    "format": ("te?xt|plain", "text", "html"),
    "on_error": ("", "empty", ""),
}
_SKU = "{{event_properties.${item_sku} | url_param_escape}}"

_Cure = tuple[str, Sequence[Edit], Mapping[str, Any]]
"""Which sentence of the mistake's kind tells how it is put right, the edits, and what else the sentence names."""


def fixed(mistake: Mistake, template: str, host: str) -> Finding:
    """Return a mistake that the rendering tells of, with the edits that put it right where there are any."""
    tag = next((tag for tag in call_tags(template) if tag.line == mistake.line), None)
    if mistake.kind in (MistakeKind.COMPARED, MistakeKind.WHOLE_LIST):
        cure = _by_value(mistake, template)
    elif mistake.kind == MistakeKind.UNESCAPED_TEXT:
        cure = _escaping(tag, mistake.names, template)
    else:
        cure = _of_call(mistake, tag, template, host) if tag else None
    if cure is None:
        return Finding(mistake.kind, mistake.line, mistake.message)
    which, edits, words = cure
    sentence = f"{mistake.kind}/{which}"
    return finding_of(template, sentence, *edits, line=mistake.line, message=mistake.message, **words)


def _by_value(mistake: Mistake, template: str) -> _Cure | None:
    """Return the edits for a value that is a list, a number or a yes where a text was expected."""
    for markup in on_line(template, mistake.line):
        if mistake.kind == MistakeKind.WHOLE_LIST and markup.is_output and mistake.names in markup.inner:
            return "join", [markup.adding(" | join: ', '")], {}
        sides = re.search(rf"({re.escape(mistake.names)}\}}*)(\s*)(==|!=)\s*((['\"])(.*?)\5)", markup.inner)
        if mistake.kind == MistakeKind.COMPARED and sides:
            if "is a list" in mistake.message:
                written = "contains" if sides[2] else " contains"
                return ("contains", [markup.edit(sides.span(3), written)], {}) if sides[3] == "==" else None
            is_no = sides[6].lower() in ("no", "false", "nein", "0")
            right = ("false" if is_no else "true") if "true or false" in mistake.message else sides[6]
            return "value", [markup.edit(sides.span(4), right)], {}
    return None


def _of_call(mistake: Mistake, tag: CallTag, template: str, host: str) -> _Cure | None:
    match mistake.kind:
        case MistakeKind.MISSING_SAVE:
            name = mistake.names or "product"
            return "save", [tag.with_option("save", name)], {"name": name}
        case MistakeKind.IGNORED_PARAMETERS:
            return _ignored(tag, mistake.names.split(", "))
        case MistakeKind.CACHE_AGE:
            return "used", [tag.with_option("cache_max_age", mistake.names)], {"used": mistake.names}
        case MistakeKind.ABORT_BEFORE_RETRY | MistakeKind.RETRY_NOT_AVAILABLE:
            return "leave-out", [tag.without_option("retry")], {}
        case MistakeKind.PORT if port := re.search(r"(?<=\w):\d+(?=/|$)", tag.url):
            return "leave-out", [tag.in_url(port.span(), "")], {}
        case MistakeKind.NOT_JSON:
            return "leave-out", [tag.without_option("save")], {}
        case MistakeKind.URL_CHARACTERS:
            return _escaped(tag)
        case MistakeKind.EMPTY_PARAMETER:
            return _stopped(tag, mistake.names, template)
        case MistakeKind.NOT_SENT:
            return _moved(tag, mistake.message, host)
        case MistakeKind.PROBLEM:
            return _refused(tag, mistake)
    return None


def _ignored(tag: CallTag, names: Iterable[str]) -> _Cure:
    edits, said = [], []
    for name in names:
        nearest = get_close_matches(name.lower(), _PARAMETERS, 1, 0.6)
        right = _PARAMETERS[nearest[0]] if nearest else ""
        renamed = tag.renamed(name, right) if right and tag.value(right) is None else None
        edits.append(renamed or tag.without_parameter(name))
        said.append(f"{name} is {right}" if renamed else f"take {name} out")
    return "right", edits, {"said": ", ".join(said)}


def _escaped(tag: CallTag) -> _Cure:
    edits = [
        output.adding(" | url_param_escape")
        for _, output in tag.outputs()
        if not re.search(r"\burl_(?:param_escape|encode|escape)\b", output.inner)
    ]
    for match in re.finditer(r"[^\w\-.~:/?#\[\]@!$&'()*+,;=%]+|[^\x00-\x7f]+", covered(tag.url)):
        edits.append(tag.in_url(match.span(), quote(match.group())))
    return "escape", edits, {}


def _stopped(tag: CallTag, expression: str, template: str) -> _Cure | None:
    if not expression:
        return "sku", (), {}
    value = expression[2:-2].split("|")[0].strip()
    stop = f"{{% if {{{{{value}}}}} == blank %}}{{% abort_message('no SKU') %}}{{% endif %}}"
    return None if stop in template else ("stop", [Edit(tag.start, tag.start, stop)], {})


def _moved(tag: CallTag, message: str, host: str) -> _Cure:
    if "is not its name" in message:
        written = re.match(r"(?:https?:)?/*[^/?\s{]+", tag.url)
        if written and "/v1/" in tag.url:
            return "there", [tag.in_url(written.span(), host)], {}
    if "start with /v1/" in message and (path := re.match(r"https?://[^/?#]+(/[^?#{]*)?", tag.url)):
        written_path = path[1] or ""
        nearest = get_close_matches(f"/v1{written_path}".replace("/v1/v2", "/v1"), _PATHS, 1, 0.5)
        if nearest:
            return "there", [tag.in_url((path.end() - len(written_path), path.end()), nearest[0])], {}
    if "must start with http" in message:
        return "whole", [tag.in_url((0, 0), f"{host}/" if "://" not in tag.url else "")], {}
    if "only reads" in message and tag.path in _PATHS:
        return _read(tag)
    return "take-out", [Edit(tag.start, tag.end, "")], {}


def _read(tag: CallTag) -> _Cure:
    return "read", [tag.without_option("method"), tag.without_option("body")], {}


def _refused(tag: CallTag, mistake: Mistake) -> _Cure | None:
    match mistake.names:
        case "401":
            if tag.options.keys() & {"basic_auth", "auth_credentials"}:
                return "credential", (), {}
            return "no-credential", [tag.with_option("basic_auth", "reviews_proxy")], {}
        case "404":
            nearest = get_close_matches(tag.path, _PATHS, 1, 0.4)
            at = tag.url.find(tag.path)
            if nearest and at >= 0 and nearest[0] != tag.path:
                return "address", [tag.in_url((at, at + len(tag.path)), nearest[0])], {}
        case "405":
            return _read(tag) if tag.path in _PATHS else ("take-out", [Edit(tag.start, tag.end, "")], {})
        case "503" | "504" | "502" if tag.value("on_error") is None:
            return "on-error", [tag.with_parameter("on_error", "empty")], {}
        case "400":
            return _parameter(tag, mistake.message)
    return None


def _parameter(tag: CallTag, message: str) -> _Cure | None:
    refusal = re.search(r"the answer is 400: (\w+)(?: is '([^']*)'…?)?: (.*)", message, re.DOTALL)
    if refusal is None:
        return None
    name, value, takes = refusal[1], refusal[2] or "", refusal[3]
    other = re.search(r"\((\w+) is another parameter\)", takes)
    others = [other[1]] if other else []
    if takes.startswith("required"):
        alike = [name, "product_id", "id", "product"]
        others += [given for given, _ in tag.parameters() if get_close_matches(given.lower(), alike, 1, 0.6)]
    for given in others[:1]:
        if renamed := tag.renamed(given, name):
            return "renamed", [renamed], {"given": given}
    if takes.startswith("required"):
        return "value", [tag.with_parameter(name, _SKU)], {"name": name, "value": _SKU, "fix": f"{name}="}
    if tag.value(name) is None or "empty SKU" in takes or "unrendered" in takes:
        return None
    if right := _right_value(name, value, takes):
        words = {"name": name, "value": right, "fix": f"{name}={right}"}
        return "value", [tag.with_parameter(name, right)], words
    return "other-value", [tag.without_parameter(name)], {"name": name}


def _right_value(name: str, value: str, takes: str) -> str:
    bounds = re.search(r"number from (\d+) to (\d+)", takes)
    if bounds and (number := re.search(r"-?\d+", value)):
        return str(min(max(int(number[0]), int(bounds[1])), int(bounds[2])))
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


def _escaping(tag: CallTag | None, variable: str, template: str) -> _Cure:
    if tag is not None and tag.value("format") == "text":
        return "format", [tag.without_parameter("format")], {}
    last = re.split(r"[.\[]", variable.rstrip("]"))[-1]
    edits = []
    for markup in markups(template):
        value = markup.inner.split("|")[0].strip(" -")
        if markup.is_output and (value.endswith(f".{last}") or value == variable) and "escape" not in markup.inner:
            edits.append(markup.adding(" | escape"))
    return "escape", edits, {}
