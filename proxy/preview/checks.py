"""What customers would see: a message that Braze would send, looked at for what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from proxy.preview.braze import CallRecord, Channel
from proxy.preview.findings import CallTag, Edit, Finding, Markup, call_tags, line_at, markups, without_unread

_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d+|#x[0-9a-fA-F]+|[a-zA-Z]{2,8}\d?);")
_HTML_TAG = re.compile(
    r"</?(?:a|b|br|div|em|font|h[1-6]|hr|i|img|li|ol|p|span|strong|table|td|tr|u|ul)\b[^<>]*>", re.I
)
_LIQUID = re.compile(r"\{\{|\{%|%\}|\$\{")
_OBJECT = re.compile(r"""\{['"]\w+['"]\s*(?:=>|:)\s*|\[object Object\]""")
_SECRET_HEADER = re.compile(r"authorization|api[-_]?key|token|secret|password", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"[?&](api[-_]?key|key|(?:access_)?token|secret|password)=((?:\{\{\s*'[^']*'.*?\}\}|[^&\s{])+)", re.IGNORECASE
)
_STANDS_FOR_ONE = re.compile(
    r"(?:x+|\*+|\.+|<.*>|\[.*\]|[A-Z]+(?:_[A-Z]+)*(?::[A-Z]+(?:_[A-Z]+)*)?|(?:your|my)[-_ ]?\w*|\w*placeholder\w*)"
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}", re.IGNORECASE)
_PERSONAL = re.compile(r"\$\{(email_address|phone_number|email|phone)\}")
_ALWAYS_NEW = re.compile(r"['\"]now['\"]|\brandom\b", re.IGNORECASE)
_ALWAYS_NEW_NAMES = (
    "cache_id",
    "cachebuster",
    "cache_buster",
    "cb",
    "nocache",
    "rand",
    "random",
    "ts",
    "timestamp",
    "_",
)
_DISCLOSED = re.compile(
    r"showing (?:only )?our|only .{0,24}star reviews|selected reviews|our latest reviews|chosen by their stars",
    re.IGNORECASE,
)
_INVITES = re.compile(
    r"\b(?:write|leave|share|post|add)\s+(?:us\s+)?(?:a|your)\s+review\b|\brate (?:us|your)\b|\breview "
    r"(?:us|your purchase)\b",
    re.IGNORECASE,
)
_OF_REVIEWS = ("/v1/reviews", "/v1/products", "/v1/business")
_IN_HTML = ("/v1/reviews", "/v1/products", "/v1/summary", "/v1/business")
_ATTRIBUTE = re.compile(r"<(img|a)\b[^<>]*?\b(src|href)\s*=\s*(?:\"\s*\"|'\s*'|(?=[\s>]))", re.IGNORECASE)
_NOT_IN_MAIL = re.compile(
    r"<(script|iframe|object|embed|form|video|audio|canvas)\b[^<>]*>(?:.*?</\1\s*>)?", re.IGNORECASE | re.DOTALL
)
_PLAINER = {
    "“": '"',
    "”": '"',
    "„": '"',
    "‘": "'",
    "’": "'",
    "–": "-",
    "—": "-",
    "…": "...",
    "•": "-",
    "\u00a0": " ",
    "★": "*",
}
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
        """The calls as written."""
        return call_tags(self.template)

    def literal(self) -> str:
        """Return the template with everything that is Liquid blanked out, each character in its place."""
        text = without_unread(self.template)
        for markup in markups(self.template):
            text = text[: markup.start] + " " * (markup.end - markup.start) + text[markup.end :]
        return text

    def rendered(self, tag: CallTag) -> list[str]:
        """Return the addresses that ``tag`` called."""
        return [call.url for call in self.calls if call.line == tag.line]


def examine(part: Part) -> list[Finding]:
    """Return what is wrong with a part of a message that Braze would send."""
    checks = (
        *(_calls, _too_large, _disclosure, _leftovers, _whole_objects, _invitation, _pictured_stars),
        *((_links,) if part.is_html else (_html_in_text, _costly_characters)),
        *(_chosen_in_liquid, _calls_in_loop, _markdown),
    )
    return [finding for check in checks for finding in check(part)]


def has_secret(template: str) -> bool:
    """Tell whether a secret is written in one of the calls, whatever becomes of the message."""
    part = Part(template, "", (), Channel.EMAIL, is_html=False)
    return any(True for tag in part.tags for _ in _secrets(part, tag))


def links(part: Part) -> Iterator[Finding]:
    """Return the links and pictures of an e-mail that lead nowhere."""
    if part.is_html:
        yield from _links(part)


def blank(template: str) -> Finding:
    """Tell of a message that has words for some people only."""
    last = next(reversed(list(markups(template))), None)
    message = "For this person nothing is left of the message: say what they get, or that they get nothing, "
    message += "with {% else %}{% abort_message('nothing to say') %}."
    if (
        last is None
        or last.name not in ("endif", "endunless", "endcase")
        or "{% else" in template[: last.start][-400:]
    ):
        return Finding("blank", 1, message)
    edit = Edit(last.start, last.start, "{% else %}{% abort_message('nothing to say') %}")
    return Finding("blank", line_at(template, last.start), message, "Send nothing then", (edit,))


def without_answer(template: str, calls: Sequence[CallRecord]) -> Iterator[Finding]:
    """Tell of calls whose failure leaves holes in the message."""
    failed = {call.line for call in calls if not call.succeeded}
    for tag in call_tags(template):
        if (
            tag.line in failed
            and tag.path in _IN_HTML
            and tag.value("on_error") is None
            and "retry" not in tag.options
        ):
            message = "For “Trustpilot is down” the message has holes where the answer should stand: ask with "
            message += f"on_error=empty, and show it only {{% if {tag.variable}.found %}}."
            edits = (tag.with_parameter("on_error", "empty"),)
            yield Finding("no-answer", tag.line, message, "Ask with on_error=empty", edits)


def examine_row(parts: Iterable[tuple[str, Part]]) -> Iterator[tuple[str, Finding]]:
    """Look at how many calls a message makes, one after the other (Braze: Make a Connected Content call)."""
    addresses: dict[str, tuple[str, Part, CallRecord]] = {}
    for name, part in parts:
        for call in part.calls:
            if call.attempts:
                addresses.setdefault(call.url, (name, part, call))
    if len(addresses) < _MANY_CALLS:
        return
    name, part, call = list(addresses.values())[_MANY_CALLS - 1]
    edits = _one_call(part)
    message = (
        f"The message makes {len(addresses)} calls one after the other; together they can take longer "
        "than a message has, "
        "and it goes out without what comes last: ask for all products in one call, /v1/products?skus=A,B,C."
    )
    yield name, Finding("calls-in-a-row", call.line, message, "Ask for all in one call", edits)


def _calls_in_loop(part: Part) -> Iterator[Finding]:
    """Tell of a call that is made again for each item of a list."""
    open_loops: list[Markup] = []
    tags = {tag.start: tag for tag in part.tags}
    for markup in markups(part.template):
        if markup.name == "for":
            open_loops.append(markup)
        elif markup.name == "endfor" and open_loops:
            open_loops.pop()
        tag = tags.get(markup.start)
        if (
            not tag
            or not open_loops
            or len(set(part.rendered(tag))) < 2
            or len(set(part.rendered(tag))) >= _MANY_CALLS
        ):
            continue
        loop = re.fullmatch(r"\s*(\w+)\s+in\s+(.+?)\s*", open_loops[-1].inner)
        message = "The loop makes a call for each item, one after the other: ask for all products in one call, "
        message += "/v1/products?skus=A,B,C, and loop over its products."
        edits: tuple[Edit, ...] = ()
        if loop and tag.path == "/v1/reviews" and len(re.findall(rf"\b{loop[1]}\b", part.template)) == 2:
            listed = f"{{{{{loop[2]} | join: ',' | url_param_escape}}}}"
            asked = part.template[tag.start : tag.end].replace(str(tag.value("sku")), listed)
            asked = asked.replace("/v1/reviews?sku=", "/v1/products?skus=").replace(
                f":save {tag.variable}", ":save asked"
            )
            head = open_loops[-1]
            written = f"{asked}{{% for {tag.variable} in asked.products %}}"
            edits = (Edit(head.start, head.end, written), Edit(tag.start, tag.end, ""))
        yield Finding("calls-in-a-row", tag.line, message, "Ask for all in one call", edits)


def _one_call(part: Part) -> tuple[Edit, ...]:
    """Return the edits that make one call of several for one product each."""
    tags = [tag for tag in part.tags if tag.path == "/v1/reviews" and tag.value("sku") and "save" in tag.options]
    if len(tags) < 2 or len({tag.url.split("?")[1].replace(str(tag.value("sku")), "") for tag in tags}) > 1:
        return ()
    first = tags[0]
    skus = ",".join(str(tag.value("sku")) for tag in tags)
    url = first.url.replace("/v1/reviews", "/v1/products").replace(f"sku={first.value('sku')}", f"skus={skus}")
    names = "".join(f"{{% assign {tag.variable} = asked.products[{at}] %}}" for at, tag in enumerate(tags))
    start, end, _ = first.options["save"]
    edits = [
        Edit(first.url_at, first.url_at + len(first.url), url),
        Edit(start, end, ":save asked"),
        Edit(first.end, first.end, names),
    ]
    return (*edits, *(Edit(tag.start, tag.end, "") for tag in tags[1:]))


def _calls(part: Part) -> Iterator[Finding]:
    for tag in part.tags:
        yield from _address(part, tag)
        yield from _secrets(part, tag)
        yield from _assigned_secret(part, tag)
        yield from _kept_errors(tag)
    saved: dict[str, CallTag] = {}
    for tag in part.tags:
        before = saved.get(tag.variable)
        if before and not re.search(rf"\b{tag.variable}\b", part.template[before.end : tag.start]):
            message = (
                f"This call saves its answer as {tag.variable} too, so the one of line {before.line} "
                "is lost: use another name."
            )
            start, end, _ = tag.options.get("save", (tag.end, tag.end, ""))
            yield Finding(
                "overwritten",
                tag.line,
                message,
                f"Write :save {tag.variable}_2",
                (Edit(start, end, f":save {tag.variable}_2"),),
            )
        saved[tag.variable] = tag


def _address(part: Part, tag: CallTag) -> Iterator[Finding]:
    if re.match(r"http://(?!127\.|localhost|\[::1\])", tag.url, re.IGNORECASE):
        edit = Edit(tag.url_at, tag.url_at + len("http"), "https")
        yield Finding(
            "http",
            tag.line,
            "The call goes over http:, so the credential travels unprotected: write https:.",
            "Write https:",
            (edit,),
        )
    for name, output, at in tag.outputs():
        if _PERSONAL.search(output):
            yield _personal(tag, name)
        if re.search(r"\burl_(?:param_escape|encode)\b", output):
            continue
        end = at + len(output.rstrip("}")) + (1 if "${" in output and output.endswith("}}}") else 0)
        end -= len(part.template[at:end]) - len(part.template[at:end].rstrip("- "))
        message = (
            f"{output} as it is: a & in it would end the value, and a space the address. Add | url_param_escape."
        )
        yield Finding(
            "not-escaped",
            tag.line,
            f"{name}= gets {message}",
            "Add | url_param_escape",
            (Edit(end, end, " | url_param_escape"),),
        )
    for name in (name for name in _ALWAYS_NEW_NAMES if tag.value(name) is not None):
        message = (
            f"{name}= makes every address a new one, so nothing is cached and each recipient "
            "costs a call: take it out."
        )
        yield Finding("never-cached", tag.line, message, f"Take {name} out", (tag.without_parameter(name),))
    for name, output, _ in tag.outputs():
        if _ALWAYS_NEW.search(output) and name not in _ALWAYS_NEW_NAMES:
            message = (
                f"{name}= changes from second to second, so nothing is cached and each recipient "
                "costs a call: take it out."
            )
            yield Finding("never-cached", tag.line, message, f"Take {name} out", (tag.without_parameter(name),))
    for url in part.rendered(tag)[:1]:
        yield from _rendered_address(tag, url)


def _rendered_address(tag: CallTag, url: str) -> Iterator[Finding]:
    given = parse_qs(urlsplit(url).query)
    for name, values in given.items():
        if any(_EMAIL.search(value) for value in values) and not _PERSONAL.search(str(tag.value(name))):
            yield _personal(tag, name)
    written = str(tag.value("sku") or "")
    single = written.count("{{") == 1 and not re.search(r"\b(?:join|map|split)\b", written) and "," not in written
    sku = ",".join(given.get("sku", []))
    if single and "," in sku:
        at = (
            tag.url_at
            + tag.url.index(written)
            + len(written.rstrip("}"))
            + ("${" in written and written.endswith("}}}"))
        )
        escape = re.search(r"\s*\|\s*url_(?:param_escape|encode)", written)
        start = tag.url_at + tag.url.index(written) + escape.start() if escape else at
        message = (
            f"The SKU {sku[:60]} has a comma, and a comma parts SKUs: the proxy merges {len(sku.split(','))} "
            "products into one. "
            "Ask for one with | split: ',' | first, or for each with /v1/products?skus=."
        )
        yield Finding(
            "comma-in-sku", tag.line, message, "Ask for the first one", (Edit(start, start, " | split: ',' | first"),)
        )


def _personal(tag: CallTag, name: str) -> Finding:
    message = (
        f"{name}= puts a person’s address or number into the URL, which Braze keeps in its log "
        "for 30 days: take it out."
    )
    return Finding("personal-data", tag.line, message, f"Take {name} out", (tag.without_parameter(name),))


def _secrets(part: Part, tag: CallTag) -> Iterator[Finding]:
    said = (
        "A secret stands in the tag, where everybody who may read the message reads it: store it "
        "in Braze (Settings, Connected Content) and name it, "
    )
    start, end, value = tag.options.get("basic_auth", (0, 0, ""))
    if ":" in value and "{{" not in value:
        yield Finding(
            "secret",
            tag.line,
            f"{said}:basic_auth reviews_proxy.",
            "Name the stored one",
            (Edit(start, end, ":basic_auth reviews_proxy"),),
        )
    if user := re.match(r"(https?://)([^/@\s:{]+:[^/@\s{]+)@", tag.url):
        edits = [Edit(tag.url_at + user.end(1), tag.url_at + user.end(), "")]
        if "basic_auth" not in tag.options:
            edits.append(tag.with_option(":basic_auth reviews_proxy"))
        yield Finding("secret", tag.line, f"{said}:basic_auth reviews_proxy.", "Name the stored one", tuple(edits))
    for match in _SECRET_PARAMETER.finditer(tag.url):
        if not _STANDS_FOR_ONE.fullmatch(match[2]):
            edits = [tag.without_parameter(match[1])]
            if not {"basic_auth", "auth_credentials"} & set(tag.options):
                edits.append(tag.with_option(":auth_credentials reviews_proxy"))
            yield Finding(
                "secret", tag.line, f"{said}:auth_credentials reviews_proxy.", "Name the stored one", tuple(edits)
            )
    start, end, value = tag.options.get("headers", (0, 0, ""))
    pairs = re.findall(r'"([^"]*)"\s*:\s*"((?:\{\{.*?\}\}|[^"])*)"', value)
    secret = [name for name, content in pairs if _SECRET_HEADER.search(name) and _is_secret(content)]
    if secret:
        rest = {name: content for name, content in pairs if name not in secret}
        written = f":headers {json.dumps(rest, ensure_ascii=False)} " if rest else ""
        stored = "" if {"basic_auth", "auth_credentials"} & set(tag.options) else ":auth_credentials reviews_proxy"
        edits = [Edit(start, end, (written + stored).strip())]
        yield Finding(
            "secret", tag.line, f"{said}:auth_credentials reviews_proxy.", "Name the stored one", tuple(edits)
        )


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
            message = "A secret stands in the message, where everybody who may read it reads it: store it in Braze "
            message += "(Settings, Connected Content) and name it, :auth_credentials reviews_proxy."
            edits = (
                Edit(*given.span(), ""),
                tag.without_option("headers"),
                tag.with_option(":auth_credentials reviews_proxy"),
            )
            line = line_at(part.template, given.start())
            yield Finding("secret", line, message, "Name the stored one", edits)


def _kept_errors(tag: CallTag) -> Iterator[Finding]:
    if "no_cache" in tag.options:
        message = "With :no_cache each recipient costs a call, and reviews change slowly: leave it out."
        yield Finding("never-cached", tag.line, message, "Leave :no_cache out", (tag.without_option("no_cache"),))
    seconds = tag.value("cache_max_age") or ""
    if tag.value("on_error") == "empty" and seconds.isdecimal() and int(seconds) > 300:
        message = (
            f"With on_error=empty a failure is a good answer to Braze, and :cache_max_age {seconds} keeps it for "
            f"{int(seconds) // 60} minutes: one slow second, and all that time without reviews. Leave "
            ":cache_max_age out "
            "(Braze then keeps answers for five minutes)."
        )
        yield Finding(
            "kept-error", tag.line, message, "Leave :cache_max_age out", (tag.without_option("cache_max_age"),)
        )


def _too_large(part: Part) -> Iterator[Finding]:
    for call in part.calls:
        if not call.outcome.startswith("over 1 MB"):
            continue
        tag = next((tag for tag in part.tags if tag.line == call.line), None)
        if tag is None:
            continue
        name, value = ("perPage", "20") if "/product-reviews/" in tag.path else ("limit", "3")
        edits = [tag.with_parameter(name, value)]
        if name == "limit" and tag.value("max_chars") is None:
            at = edits[0].end
            edits = [Edit(edits[0].start, at, f"{edits[0].text}&max_chars=240")]
        message = (
            f"The answer is over 1 MB, and Braze refuses it: ask for less with {name}={value}, or for fewer products."
        )
        yield Finding("too-large", tag.line, message, f"Ask with {name}={value}", tuple(edits))


def _disclosure(part: Part) -> Iterator[Finding]:
    if (
        "disclosure" in part.template
        or _DISCLOSED.search(part.output)
        or not re.search(r"\.content\b", part.template)
    ):
        return
    for tag in part.tags:
        for url in part.rendered(tag)[:1]:
            given = parse_qs(urlsplit(url).query)
            stars = {star for value in given.get("stars", []) for star in value.split(",") if star}
            chosen = 0 < len(stars) < 5
            is_drop_in = "/product-reviews/" in tag.path
            if tag.path not in _OF_REVIEWS and not is_drop_in:
                continue
            if not chosen and given.get("sort") != ["highest"]:
                continue
            which = (
                f"only the reviews with {' and '.join(sorted(stars, reverse=True))} stars"
                if chosen
                else "the best reviews first"
            )
            text = f"Showing our {' & '.join(sorted(stars))} star reviews" if is_drop_in else ""
            edit, written = _disclosing(part, text)
            message = (
                f"The message shows {which} and does not say so, which Trustpilot’s guidelines and "
                "the law of many countries "
                f"ask for: print {written}, or leave the filter out."
            )
            yield Finding("no-disclosure", tag.line, message, "Say which reviews are shown", (edit,))


_BY_STARS = re.compile(r"\.stars\s*(?:>=?|==)\s*[2-5]|where:\s*['\"]stars['\"]\s*,\s*[1-5]")


def _chosen_in_liquid(part: Part) -> Iterator[Finding]:
    """Tell of reviews that the template itself chooses by their stars."""
    chosen = _BY_STARS.search(without_unread(part.template))
    if not chosen or not re.search(r"\.content\b", part.template):
        return
    if _DISCLOSED.search(part.output) or re.search(r"summary\.stars", part.template[: chosen.end()][-40:]):
        return
    edit, written = _disclosing(part, "Only some of our reviews are shown, chosen by their stars.")
    message = (
        "The template leaves reviews out by their stars and does not say so, which Trustpilot’s guidelines and the "
    )
    message += (
        f"law of many countries ask for: ask with stars=4,5 and print the answer’s disclosure, or write: {written}"
    )
    yield Finding("no-disclosure", line_at(part.template, chosen.start()), message, "Say so", (edit,))


def _disclosing(part: Part, text: str) -> tuple[Edit, str]:
    """Return the edit that prints which reviews are shown, after the last of them, and what it prints."""
    loop = re.search(r"\{%-?\s*for\s+\w+\s+in\s+([\w.\[\]]+)\.reviews\b", part.template)
    name = re.search(r"([\w]+(?:\[\d+\]|\.\w+)*)\.reviews\b", part.template)
    written = text or f"{{{{ {loop[1] if loop else name[1] if name else 'product'}.disclosure }}}}"
    if loop and (end := _end_of_loop(part.template, loop.start())):
        at = end
    else:
        content = re.search(r"\.content\b.*", part.template)
        at = content.end() if content else len(part.template)
    if part.is_html:
        return Edit(at, at, f'\n<p style="font-size:12px;color:#52606d">{written}</p>'), written
    return Edit(at, at, f" ({written})"), written


def _end_of_loop(template: str, start: int) -> int | None:
    depth = 0
    for markup in markups(template):
        if markup.start < start:
            continue
        depth += (markup.name == "for") - (markup.name == "endfor")
        if depth == 0:
            return markup.end
    return None


def _leftovers(part: Part) -> Iterator[Finding]:
    seen = without_html_unseen(part.output) if part.is_html else part.output
    if match := _LIQUID.search(seen):
        at = part.template.find(match.group())
        around = seen[max(match.start() - 10, 0) : match.end() + 20].strip()
        message = (
            f"Customers would read Liquid as it is written: {around}. Look at its braces, and take {{% raw %}} out."
        )
        raw = re.search(r"\{%-?\s*raw\s*-?%\}|\{%-?\s*endraw\s*-?%\}", part.template)
        edits = (
            tuple(Edit(*m.span(), "") for m in re.finditer(r"\{%-?\s*(?:end)?raw\s*-?%\}", part.template))
            if raw
            else ()
        )
        yield Finding("liquid-shown", line_at(part.template, at), message, "Take raw out", edits)
    literal = part.literal()
    for match in re.finditer(
        r"\b(?:lorem ipsum|TODO|TBD|XXXX*|TEST(?: TEST)+|please ignore|do not send)\b"
        r"|\[(?:link(?!\]\()|name|product|text|insert [^\]]*)\]",
        literal,
        re.IGNORECASE,
    ):
        if match.group().islower() and not match.group().startswith(("lorem", "[", "please", "do not")):
            continue
        message = (
            f"“{match.group()}” is a note for whoever writes the message, and customers would read it: take it out."
        )
        yield Finding(
            "placeholder", line_at(part.template, match.start()), message, "Take it out", (Edit(*match.span(), ""),)
        )


_MARKDOWN = re.compile(r"\*\*(?P<bold>[^*\n]+)\*\*|\[(?P<text>[^\]\n]+)\]\((?P<link>https?://[^)\s]+)\)")


def _markdown(part: Part) -> Iterator[Finding]:
    """Tell of Markdown, which no channel reads."""
    found = list(_MARKDOWN.finditer(part.literal()))
    if not found:
        return
    html_of = {"bold": "<b>{bold}</b>", "link": '<a href="{link}">{text}</a>'}
    text_of = {"bold": "{bold}", "link": "{text}: {link}"}
    forms = html_of if part.is_html else text_of
    edits = [Edit(*m.span(), forms["bold" if m["bold"] else "link"].format(**m.groupdict())) for m in found]
    message = f"{found[0].group()} is Markdown, and customers would read it as it stands: write {edits[0].text}."
    line = line_at(part.template, found[0].start())
    yield Finding("html-shown", line, message, "Write it without Markdown", tuple(edits))


def without_html_unseen(output: str) -> str:
    """Return HTML without what nobody reads: styles, scripts and comments."""
    return re.sub(r"<(style|script)\b.*?</\1\s*>|<!--.*?-->", "", output, flags=re.IGNORECASE | re.DOTALL)


_FIELDS = (
    (r"\.reviews\[\d+\]", ".content"),
    (r"\.reviews", "[0].content"),
    (r"\.summary", ".average_text"),
    (r"\.distribution", ".five_stars"),
    (r"\.products", "[0].sku"),
    (r"\.attributes", "[0].name"),
    (r"\.links", ".trustpilot"),
)


def _whole_objects(part: Part) -> Iterator[Finding]:
    answers = {
        tag.variable: tag for tag in part.tags if tag.path.startswith("/v1/") and not tag.path.endswith("/fragment")
    }
    loops = dict(re.findall(r"\bfor\s+(\w+)\s+in\s+([\w.\[\]]+)", part.template))
    for markup in markups(part.template):
        value = markup.inner.strip(" -")
        if (
            not markup.is_output
            or not re.fullmatch(r"\w+(?:\[\d+\]|\.\w+)*", value)
            or not answers
            or not _OBJECT.search(part.output)
        ):
            continue
        root = re.split(r"[.\[]", value)[0]
        field = ""
        if value in answers:
            is_rating = answers[value].path == "/v1/summary"
            field = (
                ".average_text"
                if is_rating
                else ".products[0].sku"
                if answers[value].path == "/v1/products"
                else ".reviews[0].content"
            )
        elif value in loops and loops[value].split(".")[0] in {*answers, *loops}:
            field = ".content" if loops[value].endswith("reviews") else ".sku"
        elif root in answers or root in loops:
            field = next((field for pattern, field in _FIELDS if re.search(rf"{pattern}$", value)), "")
        if field:
            end = markup.at + len(markup.inner.rstrip(" -"))
            message = f"{{{{ {value} }}}} prints a whole object with its braces: write {{{{ {value}{field} }}}}."
            yield Finding(
                "whole-object",
                line_at(part.template, markup.start),
                message,
                f"Write {value}{field}",
                (Edit(end, end, field),),
            )


def _invitation(part: Part) -> Iterator[Finding]:
    asks = _INVITES.search(part.output)
    shows = re.search(r"\{%-?\s*for\s+\w+\s+in\s+[\w.\[\]]+\.reviews\b", part.template)
    printed = re.search(r"\{\{[^{}]*\.content\b[^{}]*\}\}", part.template)
    if not asks or not printed or not any(call.succeeded for call in part.calls):
        return
    end = _end_of_loop(part.template, shows.start()) if shows else None
    start, stop = (shows.start(), end) if shows and end else printed.span()
    message = (
        f"The message asks for a review (“{asks.group()}”) and shows others beside it; Trustpilot "
        "wants an invitation to be "
        "neutral: take the reviews out."
    )
    yield Finding("invites", line_at(part.template, start), message, "Take the reviews out", (Edit(start, stop, ""),))


def _pictured_stars(part: Part) -> Iterator[Finding]:
    literal = part.literal()
    tag = next((tag for tag in part.tags if tag.path in _IN_HTML), None)
    for match in re.finditer(r"(?:★|⭐️?|&#9733;|&starf;){5}", literal) if tag else ():
        name = (
            f"{tag.variable}.stars_icons"
            if tag and tag.path in ("/v1/summary", "/v1/business")
            else f"{tag.variable if tag else 'product'}.summary.stars_icons"
        )
        written = f"{{{{ {name} }}}}"
        message = (
            "Five stars stand in the message whatever the rating is, which misleads where it "
            f"is lower: write {written}."
        )
        yield Finding(
            "stars",
            line_at(part.template, match.start()),
            message,
            f"Write {written}",
            (Edit(*match.span(), written),),
        )


# ---- E-mail


def _links(part: Part) -> Iterator[Finding]:
    literal = part.literal()
    for match in re.finditer(r"\b(src|href|background|action)\s*=\s*[\"']?(http):", literal, re.IGNORECASE):
        what = (
            "picture, which mail clients then leave out"
            if match[1].lower() in ("src", "background")
            else "link, which browsers warn of"
        )
        message = f"{match[1]} begins with http:, an unprotected {what}: write https:."
        yield Finding(
            "http",
            line_at(part.template, match.start()),
            message,
            "Write https:",
            (Edit(match.start(2), match.end(2), "https"),),
        )
    for match in _NOT_IN_MAIL.finditer(literal):
        message = f"Mail clients leave <{match[1].lower()}> out of an e-mail, or refuse the whole of it: take it out."
        edit = Edit(*match.span(), "")
        yield Finding("not-in-mail", line_at(part.template, match.start()), message, "Take it out", (edit,))
    yield from _addresses(part, literal)
    empty = list(_ATTRIBUTE.finditer(part.output))
    for tag, name in dict.fromkeys((match[1].lower(), match[2].lower()) for match in empty):
        yield from _empty(part, literal, tag, name)
    for match in re.finditer(
        r"<a\b[^<>]*?\bhref\s*=\s*([\"'])(#|https?://|javascript:[^\"']*)\1", literal, re.IGNORECASE
    ):
        message = f"A link goes nowhere (href={match[2]}): give it an address."
        yield Finding(
            "empty-link",
            line_at(part.template, match.start()),
            message,
            "Take the link off",
            _unlinked(part.template, match.start()),
        )


_TARGET = re.compile(r"<(img|a)\b[^<>]*?\b(?:src|href)\s*=\s*([\"'])\s*([^\"'<>]+?)\s*\2", re.IGNORECASE)
_FILE_NAME = re.compile(r"\.(?:png|jpe?g|gif|webp|html?|svg)$", re.IGNORECASE)
_HOST = re.compile(r"(?:www\.)?[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?=[/?#:]|$)", re.IGNORECASE)


def _addresses(part: Part, literal: str) -> Iterator[Finding]:
    """Tell of pictures and links whose address no mail program can follow."""
    for match in _TARGET.finditer(part.output):
        tag, address = match[1].lower(), match[3]
        what = "picture" if tag == "img" else "link"
        if re.match(r"[A-Za-z]:\\|file:|\\\\", address):
            said, right = (
                f"a {what} on your own computer, which nobody else sees: upload it, and write its https address",
                "",
            )
        elif slashes := re.match(r"(https?):(?!//)[/\\]*(?=\w)", address):
            said, right = "short of a slash", f"{slashes[1]}://{address[slashes.end() :]}"
        elif re.match(r"https?://\S*\s", address):
            said, right = "an address with a space in it", re.sub(r"\s+", "%20", address)
        elif re.match(r"[a-z][a-z0-9+.-]*:(?!\d)|[#\[]|//", address, re.IGNORECASE):
            continue
        elif (host := _HOST.match(address)) and not _FILE_NAME.search(host[0]):
            said, right = "an address without https://, which leads nowhere from an e-mail", f"https://{address}"
        else:
            said, right = (
                "no whole address, and an e-mail belongs to no site: write https:// and the host before it",
                "",
            )
        at = literal.find(address)
        edits = (Edit(at, at + len(address), right),) if right and at >= 0 else ()
        line = line_at(part.template, at) if at >= 0 else 1
        more = f": write {right}." if right else "."
        yield Finding(
            "bad-address", line, f"The {what} {address[:60]} is {said}{more}", "Write the whole address", edits
        )


def _empty(part: Part, literal: str, tag: str, name: str) -> Iterator[Finding]:
    what = (
        "A picture has no address (an empty src), and shows as a broken one"
        if tag == "img"
        else "A link has no address (an empty href), and goes nowhere"
    )
    written = re.search(rf"<{tag}\b[^<>]*?\b{name}\s*=\s*(?:\"\s*\"|'\s*')", part.template, re.IGNORECASE)
    if written:
        end = part.template.index(">", written.end()) + 1 if ">" in part.template[written.end() :] else written.end()
        edits = (Edit(written.start(), end, ""),) if tag == "img" else _unlinked(part.template, written.start())
        yield Finding(
            "empty-link",
            line_at(part.template, written.start()),
            f"{what}: give it one, or take it out.",
            "Take it out",
            edits,
        )
        return
    pattern = re.compile(
        rf"<{tag}\b[^<>]*?\b{name}\s*=\s*([\"']?)\s*\{{\{{(.*?)\}}\}}(\}}?)\s*\1", re.IGNORECASE | re.DOTALL
    )
    for match in pattern.finditer(part.template):
        value = (match[2] + match[3]).split("|")[0].strip(" -")
        close = part.template.find("</a>" if tag == "a" else ">", match.end())
        if close < 0:
            continue
        end = close + (4 if tag == "a" else 1)
        asked = f"{{{{{value}}}}}" if "${" in value else value
        edits = Edit(match.start(), match.start(), f"{{% if {asked} != blank %}}"), Edit(end, end, "{% endif %}")
        message = (
            f"{what}: {{{{{value}}}}} came up empty. Show it only where there is one, {{% if "
            f"{asked} != blank %}} … {{% endif %}}."
        )
        yield Finding(
            "empty-link", line_at(part.template, match.start()), message, "Show it only where there is one", edits
        )


def _unlinked(template: str, start: int) -> tuple[Edit, ...]:
    """Return the edits that leave a link's text and take the link off."""
    opened = re.compile(r"<a\b(?:\{\{.*?\}\}|[^<>])*>", re.IGNORECASE | re.DOTALL).match(template, start)
    closed = re.compile(r"</a\s*>", re.IGNORECASE).search(template, start)
    return (Edit(*opened.span(), ""), Edit(*closed.span(), "")) if opened and closed else ()


# ---- Push, SMS and in-app messages, and subjects


def _html_in_text(part: Part) -> Iterator[Finding]:
    if not _ENTITY.search(part.output):
        yield from _html_answers(part)
    literal = part.literal()
    where = "This is plain text" if part.channel is Channel.EMAIL else f"A {part.channel.value} message is plain text"
    for pattern, what in ((_ENTITY, "entity"), (_HTML_TAG, "tag")):
        shown = pattern.search(part.output)
        if shown is None:
            continue
        written = list(pattern.finditer(literal))
        if written:
            edits = tuple(Edit(*match.span(), _as_text(match.group())) for match in written)
            message = f"{where}, and customers would read {written[0].group()} as it stands: write it without HTML."
            yield Finding(
                "html-shown", line_at(part.template, written[0].start()), message, "Write plain text", edits
            )
            continue
        if fragments := [t for t in part.tags if t.path == "/v1/fragment" and t.value("channel") != "text"]:
            message = f"{where}, and customers would read the HTML of /v1/fragment: ask with channel=text."
            edits = tuple(tag.with_parameter("channel", "text") for tag in fragments)
            yield Finding("html-shown", fragments[0].line, message, "Ask with channel=text", edits)
            return
        tags = [tag for tag in part.tags if tag.path in _IN_HTML and tag.value("format") != "text"]
        escapes = list(re.finditer(r"\s*\|\s*(?:escape|escape_once|h)\b(?=\s*(?:\||-?\}\}))", part.template))
        if escapes and what == "entity":
            message = (
                f"{where}, and customers would read {shown.group()}: take the filter escape out, it is for HTML."
            )
            yield Finding(
                "html-shown",
                line_at(part.template, escapes[0].start()),
                message,
                "Take escape out",
                tuple(Edit(*m.span(), "") for m in escapes),
            )
        if tags and what == "entity":
            message = (
                f"{where}, and customers would read {shown.group()}, HTML’s spelling of a "
                "character: ask the proxy for plain text with format=text."
            )
            yield Finding(
                "html-shown",
                tags[0].line,
                message,
                "Ask with format=text",
                tuple(tag.with_parameter("format", "text") for tag in tags),
            )
        elif not escapes:
            yield _stripped(part, shown.group(), where)


def _html_answers(part: Part) -> Iterator[Finding]:
    """Tell of texts that come spelt for HTML, whatever characters this product's reviews have."""
    for tag in part.tags:
        name = re.escape(tag.variable)
        is_printed = re.search(rf"\b{name}\b|\bfor\b", part.template) and re.search(
            r"\{\{[^{}]*\.(?:content|author|reply)\b", part.template
        )
        if tag.path in ("/v1/reviews", "/v1/products") and tag.value("format") != "text" and is_printed:
            message = (
                "The reviews come spelt for HTML (&amp; for &), which customers of this channel would read: ask "
            )
            message += "the proxy for plain text with format=text."
            edit = tag.with_parameter("format", "text")
            yield Finding("html-shown", tag.line, message, "Ask with format=text", (edit,))


def _stripped(part: Part, shown: str, where: str) -> Finding:
    """Tell of HTML that came with a value, not with the template."""
    outputs = [markup for markup in markups(part.template) if markup.is_output and "strip_html" not in markup.inner]
    edits = tuple(
        Edit(m.at + len(m.inner.rstrip(" -")), m.at + len(m.inner.rstrip(" -")), " | strip_html") for m in outputs
    )
    line = line_at(part.template, outputs[0].start) if outputs else 1
    return Finding(
        "html-shown",
        line,
        f"{where}, and customers would read {shown}, which came with a value: add | strip_html.",
        "Add | strip_html",
        edits,
    )


def _as_text(markup: str) -> str:
    if markup.startswith("&"):
        import html

        return html.unescape(markup).replace("\u00a0", " ")
    return "\n" if re.match(r"<br|</p|</div|</li|</h", markup, re.IGNORECASE) else ""


def _costly_characters(part: Part) -> Iterator[Finding]:
    if part.channel is not Channel.SMS:
        return
    literal = part.literal()
    found = list(re.finditer(f"[{''.join(_PLAINER)}]", literal))
    if found:
        shown = " ".join(dict.fromkeys(match.group() for match in found))
        message = (
            f"{shown} is not in the alphabet of SMS, so a segment holds 70 characters in place "
            "of 160: write it plainly."
        )
        edits = tuple(Edit(*match.span(), _PLAINER[match.group()]) for match in found)
        yield Finding(
            "costly-characters", line_at(part.template, found[0].start()), message, "Write plain characters", edits
        )
