"""What customers would see: a message that Braze would send, looked at for what is wrong with it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from proxy.preview.braze import CallRecord, Channel
from proxy.preview.findings import CallTag, Edit, Finding, Markup, call_tags, closing, found, markups, without_unread

_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d+|#x[0-9a-fA-F]+|[a-zA-Z]{2,8}\d?);")
_HTML_TAG = re.compile(
    r"</?(?:a|b|br|div|em|font|h[1-6]|hr|i|img|li|ol|p|span|strong|table|td|tr|u|ul)\b[^<>]*>", re.I
)
_LIQUID = re.compile(r"\{\{|\{%|%\}|\$\{")
_RAW = re.compile(r"\{%-?\s*(?:end)?raw\s*-?%\}")
_OBJECT = re.compile(r"""\{['"]\w+['"]\s*(?:=>|:)\s*|\[object Object\]""")
_SECRET_HEADER = re.compile(r"authorization|api[-_]?key|token|secret|password", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(
    r"[?&](api[-_]?key|key|(?:access_)?token|secret|password)=((?:\{\{\s*'[^']*'.*?\}\}|[^&\s{])+)", re.IGNORECASE
)
_STANDS_FOR_ONE = re.compile(
    r"(?:x+|\*+|\.+|<.*>|\[.*\]|[A-Z]+(?:_[A-Z]+)*(?::[A-Z]+(?:_[A-Z]+)*)?|(?:your|my)[-_ ]?\w*|\w*placeholder\w*)"
)
_CREDENTIALS = {"basic_auth", "auth_credentials"}
_STORED = "store it in Braze (Settings, Connected Content) and name it, "
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}", re.IGNORECASE)
_PERSONAL = re.compile(r"\$\{(email_address|phone_number|email|phone)\}")
_ALWAYS_NEW = re.compile(r"['\"]now['\"]|\brandom\b", re.IGNORECASE)
_ALWAYS_NEW_NAMES = (
    *("cache_id", "cachebuster", "cache_buster", "cb", "nocache", "rand", "random", "ts", "timestamp", "_"),
)
_DISCLOSED = re.compile(
    r"showing (?:only )?our|only .{0,24}star reviews|selected reviews|our latest reviews|chosen by their stars",
    re.IGNORECASE,
)
_ASKED = "which Trustpilot’s guidelines and the law of many countries ask for"
_BY_STARS = re.compile(r"\.stars\s*(?:>=?|==)\s*[2-5]|where:\s*['\"]stars['\"]\s*,\s*[1-5]")
_LOOP = re.compile(r"\{%-?\s*for\s+\w+\s+in\s+([\w.\[\]]+)\.reviews\b")
_INVITES = re.compile(
    r"\b(?:write|leave|share|post|add)\s+(?:us\s+)?(?:a|your)\s+review\b|\brate (?:us|your)\b|\breview "
    r"(?:us|your purchase)\b",
    re.IGNORECASE,
)
_OF_REVIEWS = ("/v1/reviews", "/v1/products", "/v1/business")
_IN_HTML = (*_OF_REVIEWS, "/v1/summary")
_EMPTY = re.compile(r"<(img|a)\b[^<>]*?\b(src|href)\s*=\s*(?:\"\s*\"|'\s*'|(?=[\s>]))", re.IGNORECASE)
_NOT_IN_MAIL = re.compile(
    r"<(script|iframe|object|embed|form|video|audio|canvas)\b[^<>]*>(?:.*?</\1\s*>)?", re.IGNORECASE | re.DOTALL
)
_PLAINER = {
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("–—•", "-"),
    "…": "...",
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

    def found(self, kind: str, message: str, *edits: Edit, fix: str = "", at: int | None = None) -> Finding:
        """Return a finding in this part; see `proxy.preview.findings.found`."""
        return found(self.template, kind, message, *edits, fix=fix, at=at)


def examine(part: Part) -> list[Finding]:
    """Return what is wrong with a part of a message that Braze would send."""
    checks = (
        *(_calls, _too_large, _disclosure, _leftovers, _whole_objects, _invitation, _pictured_stars),
        *((links,) if part.is_html else (_html_in_text, _costly_characters)),
        *(_chosen_in_liquid, _calls_in_loop, _markdown),
    )
    return [finding for check in checks for finding in check(part)]


def has_secret(template: str) -> bool:
    """Tell whether a secret is written in one of the calls, whatever becomes of the message."""
    part = Part(template, "", (), Channel.EMAIL, is_html=False)
    return any(True for tag in part.tags for _ in _secrets(part, tag))


def blank(template: str) -> Finding:
    """Tell of a message that has words for some people only."""
    otherwise = "{% else %}{% abort_message('nothing to say') %}"
    message = "For this person nothing is left of the message: say what they get, or that they get nothing, "
    message += f"with {otherwise}."
    last = next(reversed(list(markups(template))), None)
    closes = (
        last and last.name in ("endif", "endunless", "endcase") and "{% else" not in template[: last.start][-400:]
    )
    if last is None or not closes:
        return found(template, "blank", message, at=0)
    return found(template, "blank", message, Edit(last.start, last.start, otherwise), fix="Send nothing then")


def without_answer(template: str, calls: Sequence[CallRecord]) -> Iterator[Finding]:
    """Tell of calls whose failure leaves holes in the message."""
    failed = {call.line for call in calls if not call.succeeded}
    for tag in call_tags(template):
        is_open = tag.value("on_error") is None and "retry" not in tag.options
        if tag.line in failed and tag.path in _IN_HTML and is_open:
            message = "For “Trustpilot is down” the message has holes where the answer should stand: ask with "
            message += f"on_error=empty, and show it only {{% if {tag.variable}.found %}}."
            edit = tag.with_parameter("on_error", "empty")
            yield found(template, "no-answer", message, edit, fix="Ask with on_error=empty", at=tag.start)


# ---- Calls


def examine_row(parts: Iterable[tuple[str, Part]]) -> Iterator[tuple[str, Finding]]:
    """Look at how many calls a message makes, one after the other (Braze: Make a Connected Content call)."""
    addresses: dict[str, tuple[str, Part, CallRecord]] = {}
    for name, part in parts:
        for call in part.calls:
            if call.attempts:
                addresses.setdefault(call.url, (name, part, call))
    if len(addresses) >= _MANY_CALLS:
        name, part, call = list(addresses.values())[_MANY_CALLS - 1]
        message = f"The message makes {len(addresses)} calls one after the other; together they can take longer "
        message += "than a message has, and it goes out without what comes last: ask for all products in one call, "
        message += "/v1/products?skus=A,B,C."
        yield name, Finding("calls-in-a-row", call.line, message, "Ask for all in one call", _one_call(part))


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
        message = "The loop makes a call for each item, one after the other: ask for all products in one call, "
        message += "/v1/products?skus=A,B,C, and loop over its products."
        yield part.found("calls-in-a-row", message, *edits, fix="Ask for all in one call", at=tag.start)


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


def _calls(part: Part) -> Iterator[Finding]:
    for tag in part.tags:
        yield from _address(part, tag)
        yield from _secrets(part, tag)
        yield from _assigned_secret(part, tag)
        yield from _kept_errors(part, tag)
    saved: dict[str, CallTag] = {}
    for tag in part.tags:
        before, other = saved.get(tag.variable), f"{tag.variable}_2"
        if before and not re.search(rf"\b{tag.variable}\b", part.template[before.end : tag.start]):
            message = f"This call saves its answer as {tag.variable} too, so the one of line {before.line} "
            message += "is lost: use another name."
            edit = tag.with_option("save", other)
            yield part.found("overwritten", message, edit, fix=f"Write :save {other}", at=tag.start)
        saved[tag.variable] = tag


def _address(part: Part, tag: CallTag) -> Iterator[Finding]:
    if re.match(r"http://(?!127\.|localhost|\[::1\])", tag.url, re.IGNORECASE):
        edit = tag.in_url((0, len("http")), "https")
        message = "The call goes over http:, so the credential travels unprotected: write https:."
        yield part.found("http", message, edit, fix="Write https:", at=tag.start)
    outputs = list(tag.outputs())
    for name, output in outputs:
        if _PERSONAL.search(output.inner):
            yield _personal(part, tag, name)
        if not re.search(r"\burl_(?:param_escape|encode)\b", output.inner):
            message = f"{name}= gets {part.template[output.start : output.end]} as it is: a & in it would end the "
            message += "value, and a space the address. Add | url_param_escape."
            edit = output.adding(" | url_param_escape")
            yield part.found("not-escaped", message, edit, fix="Add | url_param_escape", at=tag.start)
    new = [(name, "makes every address a new one") for name in _ALWAYS_NEW_NAMES if tag.value(name) is not None]
    changing = [name for name, output in outputs if _ALWAYS_NEW.search(output.inner)]
    new += [(name, "changes from second to second") for name in changing if name not in _ALWAYS_NEW_NAMES]
    for name, does in new:
        message = f"{name}= {does}, so nothing is cached and each recipient costs a call: take it out."
        yield part.found("never-cached", message, tag.without_parameter(name), fix=f"Take {name} out", at=tag.start)
    for url in part.rendered(tag)[:1]:
        yield from _rendered_address(part, tag, url)


def _rendered_address(part: Part, tag: CallTag, url: str) -> Iterator[Finding]:
    given = _query(url)
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
        message = f"The SKU {sku[:60]} has a comma, and a comma parts SKUs: the proxy merges {len(sku.split(','))} "
        message += f"products into one. Ask for one with{first}, or for each with /v1/products?skus=."
        yield part.found("comma-in-sku", message, edit, fix="Ask for the first one", at=tag.start)


def _query(url: str) -> dict[str, list[str]]:
    # Not by urlsplit, which refuses addresses that can't be called.
    return parse_qs(url.partition("?")[2].partition("#")[0])


def _personal(part: Part, tag: CallTag, name: str) -> Finding:
    message = f"{name}= puts a person’s address or number into the URL, which Braze keeps in its log for 30 days: "
    edit = tag.without_parameter(name)
    return part.found("personal-data", f"{message}take it out.", edit, fix=f"Take {name} out", at=tag.start)


def _secrets(part: Part, tag: CallTag) -> Iterator[Finding]:
    def secret(option: str, *edits: Edit) -> Finding:
        message = f"A secret stands in the tag, where everybody who may read the message reads it: {_STORED}"
        message += f":{option} reviews_proxy."
        return part.found("secret", message, *edits, fix="Name the stored one", at=tag.start)

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
            message = f"A secret stands in the message, where everybody who may read it reads it: {_STORED}"
            message += ":auth_credentials reviews_proxy."
            named = tag.with_option("auth_credentials", "reviews_proxy")
            edits = Edit(*given.span(), ""), tag.without_option("headers"), named
            yield part.found("secret", message, *edits, fix="Name the stored one")


def _kept_errors(part: Part, tag: CallTag) -> Iterator[Finding]:
    if "no_cache" in tag.options:
        message = "With :no_cache each recipient costs a call, and reviews change slowly: leave it out."
        edit = tag.without_option("no_cache")
        yield part.found("never-cached", message, edit, fix="Leave :no_cache out", at=tag.start)
    seconds = tag.value("cache_max_age") or ""
    if tag.value("on_error") == "empty" and seconds.isdecimal() and int(seconds) > 300:
        message = f"With on_error=empty a failure is a good answer to Braze, and :cache_max_age {seconds} keeps it "
        message += f"for {int(seconds) // 60} minutes: one slow second, and all that time without reviews. Leave "
        message += ":cache_max_age out (Braze then keeps answers for five minutes)."
        edit = tag.without_option("cache_max_age")
        yield part.found("kept-error", message, edit, fix="Leave :cache_max_age out", at=tag.start)


def _too_large(part: Part) -> Iterator[Finding]:
    lines = {call.line for call in part.calls if call.outcome.startswith("over 1 MB")}
    for tag in part.tags:
        if tag.line not in lines:
            continue
        name, value = ("perPage", "20") if "/product-reviews/" in tag.path else ("limit", "3")
        edit = tag.with_parameter(name, value)
        if name == "limit" and tag.value("max_chars") is None:
            edit = Edit(edit.start, edit.end, f"{edit.text}&max_chars=240")
        message = f"The answer is over 1 MB, and Braze refuses it: ask for less with {name}={value}, or for fewer "
        yield part.found("too-large", f"{message}products.", edit, fix=f"Ask with {name}={value}", at=tag.start)


# ---- Which reviews are shown


def _disclosure(part: Part) -> Iterator[Finding]:
    if (
        "disclosure" in part.template
        or _DISCLOSED.search(part.output)
        or not re.search(r"\.content\b", part.template)
    ):
        return
    for tag in part.tags:
        is_drop_in = "/product-reviews/" in tag.path
        for url in part.rendered(tag)[:1] if tag.path in _OF_REVIEWS or is_drop_in else ():
            given = _query(url)
            stars = sorted({star for value in given.get("stars", []) for star in value.split(",") if star})
            if 0 < len(stars) < 5:
                which = f"only the reviews with {' and '.join(reversed(stars))} stars"
            elif given.get("sort") == ["highest"]:
                which = "the best reviews first"
            else:
                continue
            edit, written = _disclosing(part, f"Showing our {' & '.join(stars)} star reviews" if is_drop_in else "")
            message = (
                f"The message shows {which} and does not say so, {_ASKED}: print {written}, or leave the filter "
            )
            fix = "Say which reviews are shown"
            yield part.found("no-disclosure", f"{message}out.", edit, fix=fix, at=tag.start)


def _chosen_in_liquid(part: Part) -> Iterator[Finding]:
    """Tell of reviews that the template itself chooses by their stars."""
    chosen = _BY_STARS.search(without_unread(part.template))
    if not chosen or not re.search(r"\.content\b", part.template):
        return
    if _DISCLOSED.search(part.output) or re.search(r"summary\.stars", part.template[: chosen.end()][-40:]):
        return
    edit, written = _disclosing(part, "Only some of our reviews are shown, chosen by their stars.")
    message = f"The template leaves reviews out by their stars and does not say so, {_ASKED}: ask with stars=4,5 and "
    message += f"print the answer’s disclosure, or write: {written}"
    yield part.found("no-disclosure", message, edit, fix="Say so", at=chosen.start())


def _disclosing(part: Part, text: str) -> tuple[Edit, str]:
    """Return the edit that prints which reviews are shown, after the last of them, and what it prints."""
    loop = _loop_over_reviews(part)
    name = _LOOP.search(part.template) or re.search(r"([\w]+(?:\[\d+\]|\.\w+)*)\.reviews\b", part.template)
    written = text or f"{{{{ {name[1] if name else 'product'}.disclosure }}}}"
    content = re.search(r"\.content\b.*", part.template)
    at = loop[1] if loop else content.end() if content else len(part.template)
    if part.is_html:
        return Edit(at, at, f'\n<p style="font-size:12px;color:#52606d">{written}</p>'), written
    return Edit(at, at, f" ({written})"), written


def _loop_over_reviews(part: Part) -> tuple[int, int] | None:
    """Return where the first loop over reviews begins and ends."""
    loop = _LOOP.search(part.template)
    opened = next((markup for markup in markups(part.template) if loop and markup.start == loop.start()), None)
    end = closing(part.template, opened) if opened else None
    return (opened.start, end.end) if opened and end else None


def _invitation(part: Part) -> Iterator[Finding]:
    asks = _INVITES.search(part.output)
    printed = re.search(r"\{\{[^{}]*\.content\b[^{}]*\}\}", part.template)
    if asks and printed and any(call.succeeded for call in part.calls):
        message = f"The message asks for a review (“{asks.group()}”) and shows others beside it; Trustpilot wants an "
        message += "invitation to be neutral: take the reviews out."
        yield part.found(
            "invites", message, Edit(*(_loop_over_reviews(part) or printed.span()), ""), fix="Take the reviews out"
        )


def _pictured_stars(part: Part) -> Iterator[Finding]:
    tag = next((tag for tag in part.tags if tag.path in _IN_HTML), None)
    if tag is None:
        return
    summary = "" if tag.path in ("/v1/summary", "/v1/business") else ".summary"
    written = f"{{{{ {tag.variable}{summary}.stars_icons }}}}"
    for match in re.finditer(r"(?:★|⭐️?|&#9733;|&starf;){5}", part.literal()):
        message = "Five stars stand in the message whatever the rating is, which misleads where it is lower: write "
        yield part.found("stars", f"{message}{written}.", Edit(*match.span(), written))


# ---- What is not meant to be read


def _leftovers(part: Part) -> Iterator[Finding]:
    seen = part.output
    if part.is_html:  # nobody reads styles, scripts and comments
        seen = re.sub(r"<(style|script)\b.*?</\1\s*>|<!--.*?-->", "", seen, flags=re.IGNORECASE | re.DOTALL)
    if match := _LIQUID.search(seen):
        around = seen[max(match.start() - 10, 0) : match.end() + 20].strip()
        message = (
            f"Customers would read Liquid as it is written: {around}. Look at its braces, and take {{% raw %}} out."
        )
        edits = [Edit(*raw.span(), "") for raw in _RAW.finditer(part.template)]
        at = part.template.find(match.group())
        yield part.found("liquid-shown", message, *edits, fix="Take raw out", at=at)
    for match in re.finditer(
        r"\b(?:lorem ipsum|TODO|TBD|XXXX*|TEST(?: TEST)+|please ignore|do not send)\b"
        r"|\[(?:link(?!\]\()|name|product|text|insert [^\]]*)\]",
        part.literal(),
        re.IGNORECASE,
    ):
        if not match.group().islower() or match.group().startswith(("lorem", "[", "please", "do not")):
            message = f"“{match.group()}” is a note for whoever writes the message, and customers would read it: "
            yield part.found("placeholder", f"{message}take it out.", Edit(*match.span(), ""), fix="Take it out")


def _markdown(part: Part) -> Iterator[Finding]:
    """Tell of Markdown, which no channel reads."""
    pattern = r"\*\*(?P<bold>[^*\n]+)\*\*|\[(?P<text>[^\]\n]+)\]\((?P<link>https?://[^)\s]+)\)"
    written = list(re.finditer(pattern, part.literal()))
    bold, link = ("<b>{bold}</b>", '<a href="{link}">{text}</a>') if part.is_html else ("{bold}", "{text}: {link}")
    edits = [Edit(*m.span(), (bold if m["bold"] else link).format(**m.groupdict())) for m in written]
    if edits:
        message = (
            f"{written[0].group()} is Markdown, and customers would read it as it stands: write {edits[0].text}."
        )
        yield part.found("html-shown", message, *edits, fix="Write it without Markdown")


_FIELDS = (
    (r"\.reviews\[\d+\]", ".content"),
    (r"\.reviews", "[0].content"),
    (r"\.summary", ".average_text"),
    (r"\.distribution", ".five_stars"),
    (r"\.products", "[0].sku"),
    (r"\.attributes", "[0].name"),
    (r"\.links", ".trustpilot"),
)
_ANSWERS = {"/v1/summary": ".average_text", "/v1/products": ".products[0].sku"}


def _whole_objects(part: Part) -> Iterator[Finding]:
    tags = [tag for tag in part.tags if tag.path.startswith("/v1/") and not tag.path.endswith("/fragment")]
    paths = {tag.variable: tag.path for tag in tags}
    loops = dict(re.findall(r"\bfor\s+(\w+)\s+in\s+([\w.\[\]]+)", part.template))
    for markup in markups(part.template) if paths and _OBJECT.search(part.output) else ():
        value = markup.value
        if not markup.is_output or not re.fullmatch(r"\w+(?:\[\d+\]|\.\w+)*", value):
            continue
        field = ""
        if value in paths:
            field = _ANSWERS.get(paths[value], ".reviews[0].content")
        elif value in loops and loops[value].split(".")[0] in {*paths, *loops}:
            field = ".content" if loops[value].endswith("reviews") else ".sku"
        elif re.split(r"[.\[]", value)[0] in {*paths, *loops}:
            field = next((field for pattern, field in _FIELDS if re.search(rf"{pattern}$", value)), "")
        if field:
            message = f"{{{{ {value} }}}} prints a whole object with its braces: write {{{{ {value}{field} }}}}."
            edit = markup.adding(field)
            yield part.found("whole-object", message, edit, fix=f"Write {value}{field}", at=markup.start)


# ---- E-mail

_TARGET = re.compile(r"<(img|a)\b[^<>]*?\b(?:src|href)\s*=\s*([\"'])\s*([^\"'<>]+?)\s*\2", re.IGNORECASE)
_FILE_NAME = re.compile(r"\.(?:png|jpe?g|gif|webp|html?|svg)$", re.IGNORECASE)
_HOST = re.compile(r"(?:www\.)?[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?=[/?#:]|$)", re.IGNORECASE)


def links(part: Part) -> Iterator[Finding]:
    """Return the links and pictures of an e-mail that lead nowhere."""
    literal = part.literal()
    for match in re.finditer(r"\b(src|href|background|action)\s*=\s*[\"']?(http):", literal, re.IGNORECASE):
        is_picture = match[1].lower() in ("src", "background")
        what = "picture, which mail clients then leave out" if is_picture else "link, which browsers warn of"
        message = f"{match[1]} begins with http:, an unprotected {what}: write https:."
        edit = Edit(*match.span(2), "https")
        yield part.found("http", message, edit, fix="Write https:", at=match.start())
    for match in _NOT_IN_MAIL.finditer(literal):
        message = f"Mail clients leave <{match[1].lower()}> out of an e-mail, or refuse the whole of it: take it out."
        yield part.found("not-in-mail", message, Edit(*match.span(), ""), fix="Take it out")
    yield from _addresses(part, literal)
    empty = _EMPTY.finditer(part.output)
    for tag, name in dict.fromkeys((match[1].lower(), match[2].lower()) for match in empty):
        yield from _empty(part, tag, name)
    nowhere = r"<a\b[^<>]*?\bhref\s*=\s*([\"'])(#|https?://|javascript:[^\"']*)\1"
    for match in re.finditer(nowhere, literal, re.IGNORECASE):
        message = f"A link goes nowhere (href={match[2]}): give it an address."
        edits = _unlinked(part.template, match.start())
        yield part.found("empty-link", message, *edits, fix="Take the link off", at=match.start())


def _addresses(part: Part, literal: str) -> Iterator[Finding]:
    """Tell of pictures and links whose address no mail program can follow."""
    for match in _TARGET.finditer(part.output):
        address, right = match[3], ""
        what = "picture" if match[1].lower() == "img" else "link"
        if re.match(r"[A-Za-z]:\\|file:|\\\\", address):
            said = f"a {what} on your own computer, which nobody else sees: upload it, and write its https address"
        elif slashes := re.match(r"(https?):(?!//)[/\\]*(?=\w)", address):
            said, right = "short of a slash", f"{slashes[1]}://{address[slashes.end() :]}"
        elif re.match(r"https?://\S*\s", address):
            said, right = "an address with a space in it", re.sub(r"\s+", "%20", address)
        elif re.match(r"[a-z][a-z0-9+.-]*:(?!\d)|[#\[]|//", address, re.IGNORECASE):
            continue
        elif (host := _HOST.match(address)) and not _FILE_NAME.search(host[0]):
            said, right = "an address without https://, which leads nowhere from an e-mail", f"https://{address}"
        else:
            said = "no whole address, and an e-mail belongs to no site: write https:// and the host before it"
        at = literal.find(address)
        edits = [Edit(at, at + len(address), right)] if right and at >= 0 else []
        message = f"The {what} {address[:60]} is {said}" + (f": write {right}." if right else ".")
        yield part.found("bad-address", message, *edits, fix="Write the whole address", at=at)


def _empty(part: Part, tag: str, name: str) -> Iterator[Finding]:
    what = (
        "A picture has no address (an empty src), and shows as a broken one"
        if tag == "img"
        else "A link has no address (an empty href), and goes nowhere"
    )
    template = part.template
    if written := re.search(rf"<{tag}\b[^<>]*?\b{name}\s*=\s*(?:\"\s*\"|'\s*')", template, re.IGNORECASE):
        start, end = written.start(), (template.find(">", written.end()) + 1) or written.end()
        edits = (Edit(start, end, ""),) if tag == "img" else _unlinked(template, start)
        message = f"{what}: give it one, or take it out."
        yield part.found("empty-link", message, *edits, fix="Take it out", at=start)
        return
    pattern = rf"<{tag}\b[^<>]*?\b{name}\s*=\s*([\"']?)\s*\{{\{{(.*?)\}}\}}(\}}?)\s*\1"
    for match in re.finditer(pattern, template, re.IGNORECASE | re.DOTALL):
        value = (match[2] + match[3]).split("|")[0].strip(" -")
        close = "</a>" if tag == "a" else ">"
        end = template.find(close, match.end()) + len(close)
        if end < match.end():
            continue
        asked = f"{{{{{value}}}}}" if "${" in value else value
        shown_if = f"{{% if {asked} != blank %}}"
        edits = Edit(match.start(), match.start(), shown_if), Edit(end, end, "{% endif %}")
        message = (
            f"{what}: {{{{{value}}}}} came up empty. Show it only where there is one, {shown_if} … {{% endif %}}."
        )
        yield part.found("empty-link", message, *edits, fix="Show it only where there is one")


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
        said = f"{where}, and customers would read"
        if written := list(pattern.finditer(literal)):
            edits = [Edit(*match.span(), _as_text(match.group())) for match in written]
            message = f"{said} {written[0].group()} as it stands: write it without HTML."
            yield part.found("html-shown", message, *edits, fix="Write plain text")
            continue
        if fragments := [t for t in part.tags if t.path == "/v1/fragment" and t.value("channel") != "text"]:
            message = f"{said} the HTML of /v1/fragment: ask with channel=text."
            edits = [tag.with_parameter("channel", "text") for tag in fragments]
            yield part.found("html-shown", message, *edits, fix="Ask with channel=text", at=fragments[0].start)
            return
        tags = [tag for tag in part.tags if tag.path in _IN_HTML and tag.value("format") != "text"]
        escapes = list(re.finditer(r"\s*\|\s*(?:escape|escape_once|h)\b(?=\s*(?:\||-?\}\}))", part.template))
        if escapes and what == "entity":
            message = f"{said} {shown.group()}: take the filter escape out, it is for HTML."
            edits = [Edit(*match.span(), "") for match in escapes]
            yield part.found("html-shown", message, *edits, fix="Take escape out")
        if tags and what == "entity":
            message = f"{said} {shown.group()}, HTML’s spelling of a character: ask the proxy for plain text with "
            edits = [tag.with_parameter("format", "text") for tag in tags]
            fix = "Ask with format=text"
            yield part.found("html-shown", f"{message}format=text.", *edits, fix=fix, at=tags[0].start)
        elif not escapes:
            # HTML that came with a value, not with the template.
            outputs = [m for m in markups(part.template) if m.is_output and "strip_html" not in m.inner]
            message = f"{said} {shown.group()}, which came with a value: add | strip_html."
            edits = [output.adding(" | strip_html") for output in outputs]
            at = outputs[0].start if outputs else 0
            yield part.found("html-shown", message, *edits, fix="Add | strip_html", at=at)


def _html_answers(part: Part) -> Iterator[Finding]:
    """Tell of texts that come spelt for HTML, whatever characters this product's reviews have."""
    is_printed = re.search(r"\{\{[^{}]*\.(?:content|author|reply)\b", part.template)
    for tag in part.tags if is_printed else ():
        is_read = re.search(rf"\b{re.escape(tag.variable)}\b|\bfor\b", part.template)
        if is_read and tag.path in ("/v1/reviews", "/v1/products") and tag.value("format") != "text":
            message = (
                "The reviews come spelt for HTML (&amp; for &), which customers of this channel would read: ask "
            )
            message += "the proxy for plain text with format=text."
            edit = tag.with_parameter("format", "text")
            yield part.found("html-shown", message, edit, fix="Ask with format=text", at=tag.start)


def _as_text(markup: str) -> str:
    if markup.startswith("&"):
        return html.unescape(markup).replace("\u00a0", " ")
    return "\n" if re.match(r"<br|</p|</div|</li|</h", markup, re.IGNORECASE) else ""


def _costly_characters(part: Part) -> Iterator[Finding]:
    written = list(re.finditer(f"[{''.join(_PLAINER)}]", part.literal())) if part.channel is Channel.SMS else []
    if written:
        shown = " ".join(dict.fromkeys(match.group() for match in written))
        message = (
            f"{shown} is not in the alphabet of SMS, so a segment holds 70 characters in place of 160: write it "
        )
        edits = [Edit(*match.span(), _PLAINER[match.group()]) for match in written]
        yield part.found("costly-characters", f"{message}plainly.", *edits, fix="Write plain characters")
