"""Braze's side of the wire, as its documentation describes it.

A template is rendered the way Braze renders a message: its Liquid with ``${attributes}``, its
``connected_content`` and ``abort_message`` tags, and the rules it applies to each call. The room talks to no network
and no clock of its own: a `Transport`, a clock and a sleep are passed in, so that a preview, a terminal and a test
can each bring theirs. What others need of the room is named here; the modules behind it are its own affair.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from traceback import walk_tb
from urllib.parse import parse_qs, urlsplit

from liquid import BoundTemplate, Environment
from liquid.ast import Node
from liquid.exceptions import LiquidError, ResourceLimitError
from liquid.token import Token

from proxy.preview.braze import dialect, empties
from proxy.preview.braze.dialect import BrazeContext
from proxy.preview.braze.empties import BRACED, NAMESPACES, SAMPLES, Empty, displayed, placeholders
from proxy.preview.braze.exchange import CallRecord, Exchange, Inserted, Mistake, MistakeKind, Verdict, Wanted
from proxy.preview.braze.filters import FILTERS
from proxy.preview.braze.markup import (
    CALL_FLAGS,
    CALL_OPTIONS,
    CALL_WORDS,
    PROFILE,
    TEMPLATE_CHARACTERS,
    TemplateBoundError,
    TemplateError,
    is_boundless,
    line_of,
    tokenize,
)
from proxy.preview.braze.ruby import Now, in_utc, utc_now
from proxy.preview.braze.tags import TAGS, MessageAbortedError
from proxy.preview.braze.wire import (
    DEFAULT_VARIABLE,
    BasicCredential,
    BodyTooLargeError,
    CallRequest,
    Channel,
    Credentials,
    MemoryAnswers,
    NoAnswerInTimeError,
    NoConnectionError,
    RefusedError,
    Request,
    Response,
    TokenCredential,
    Transport,
    TransportError,
    is_secret,
)

__all__ = [
    "BRACED",
    "CALL_FLAGS",
    "CALL_OPTIONS",
    "CALL_WORDS",
    "ESCAPING_PATHS",
    "FILTERS",
    "NAMESPACES",
    "BasicCredential",
    "BodyTooLargeError",
    "CallRecord",
    "Channel",
    "Credentials",
    "Empty",
    "MemoryAnswers",
    "Mistake",
    "MistakeKind",
    "NoAnswerInTimeError",
    "NoConnectionError",
    "Profile",
    "RefusedError",
    "Rendering",
    "Request",
    "Response",
    "TemplateBoundError",
    "TemplateError",
    "TokenCredential",
    "Transport",
    "TransportError",
    "is_boundless",
    "is_secret",
    "line_of",
    "parse",
    "render",
]


class BrazeEnvironment(Environment):
    """Liquid with Braze's syntax, tags and filters, and without what reads other templates."""

    local_namespace_limit = 4_194_304

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        return partial(tokenize, lexer=super().tokenizer())

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register Liquid's own tags, then Braze's; filters come with each rendering."""
        super().setup_tags_and_filters(extra=extra)
        del self.tags["include"]
        dialect.register(self)
        for tag in TAGS:
            self.add_tag(tag)


_ENVIRONMENT = BrazeEnvironment()
# Braze: Use retry logic for Connected Content. "Up to five times" after the first attempt.
_RETRIES = 5
_BLOCK_EDGE = re.compile(r"\{%-?\s*(end)?(if|unless|case|for|tablerow|capture|ifchanged|translation)\b")
_TOO_DEEP = "the template is nested too deeply"


@dataclass(frozen=True, slots=True)
class Profile:
    """The person a message is rendered for, and what triggered it. Values are what JSON can hold.

    ``attributes`` are read as ``{{${first_name}}}``, ``custom_attributes`` as ``{{custom_attribute.${x}}}``,
    the properties under their own names; ``canvas_entry_properties`` also as ``{{context.${x}}}``.
    ``namespaces`` holds anything else Braze knows, such as ``{"campaign": {"name": "Spring"}}`` for
    ``{{campaign.${name}}}``; so ``content_blocks`` by their names, and for tags ``catalog_items`` (catalog, then id),
    ``catalog_selection_items`` (catalog, then selection), ``promotion`` (list) and ``shopping_cart`` (a cart, or
    carts by id). What is not given is a placeholder. Source: Braze: Supported personalization tags.
    """

    attributes: Mapping[str, object] = field(default_factory=dict)
    custom_attributes: Mapping[str, object] = field(default_factory=dict)
    event_properties: Mapping[str, object] = field(default_factory=dict)
    api_trigger_properties: Mapping[str, object] = field(default_factory=dict)
    canvas_entry_properties: Mapping[str, object] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def variables(self) -> dict[str, object]:
        """Return what a template can read, by the names the lexer looks up."""
        return {
            **empties.namespaces(self.namespaces),
            PROFILE: empties.known(in_utc(self.attributes)),
            "custom_attribute": in_utc(self.custom_attributes),
            "event_properties": in_utc(self.event_properties),
            "api_trigger_properties": in_utc(self.api_trigger_properties),
            "canvas_entry_properties": in_utc(self.canvas_entry_properties),
            "context": in_utc(self.canvas_entry_properties),
        }


@dataclass(frozen=True, slots=True)
class Rendering:
    """What became of a message.

    ``aborted`` is the reason it is not sent, or None; ``output`` is then empty. ``calls`` are in the order
    they were made. ``empties`` is what met nothing, by line. ``placeholders`` says what stands in ``output`` for what
    only Braze has, each once.
    """

    output: str
    aborted: str | None
    calls: tuple[CallRecord, ...]
    mistakes: tuple[Mistake, ...]
    empties: tuple[Empty, ...] = ()
    placeholders: tuple[str, ...] = ()


def render(
    template: str,
    profile: Profile,
    *,
    transport: Transport,
    credentials: Credentials,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    cache: MemoryAnswers,
    channel: Channel | None = None,
    now: Now = utc_now,
) -> Rendering:
    """Render ``template`` for ``profile`` as Braze would send it.

    ``clock`` and ``sleep`` are in seconds; ``sleep`` is called between retries only. A call with ``:retry``
    that fails puts the whole message back, as Braze does: it is rendered again up to five times, with the
    calls that went well keeping their answers, and then aborted (Braze: Use retry logic for Connected
    Content). ``channel`` applies what Braze does differently there; None is any channel. ``now`` tells the time for
    ``'now' | date``.

    Raises:
        TemplateError: the Liquid is wrong, with the line.
        TemplateBoundError: the template is too large, or asks for more than one rendering may use.

    """
    message = _Message(template, parse(template), profile, now)
    exchange = Exchange(
        transport=transport,
        credentials=credentials,
        clock=clock,
        cache=cache,
        wanted=_wanted(message.parsed, profile.variables()),
        channel=channel,
    )
    is_html = channel is not None and channel.is_html
    for retry in range(_RETRIES + 1):
        if retry:
            # Braze documents exponential backoff (Use retry logic for Connected Content) but not its steps.
            sleep(float(2 ** (retry - 1)))
        exchange.begin_pass()
        context = message.context(exchange.call)
        output, aborted = "", None
        try:
            output = message.rendered(context)
        except MessageAbortedError as abort:
            exchange.note_abort()
            aborted = abort.reason
            break
        if not exchange.to_retry:
            exchange.note_mistakes(context.mistakes)
            if is_html:
                exchange.note_mistakes(_unescaped(message, exchange.inserted))
            break
    else:
        output, aborted = "", exchange.abandon()
    return Rendering(
        displayed(output, is_html=is_html),
        aborted,
        tuple(exchange.calls),
        exchange.mistakes,
        context.empties.found,
        placeholders(output),
    )


def parse(template: str) -> BoundTemplate:
    """Read a template without rendering it.

    Raises:
        TemplateError, TemplateBoundError: as `render`.

    """
    if len(template) > TEMPLATE_CHARACTERS:
        raise TemplateBoundError(f"the template is longer than {TEMPLATE_CHARACTERS} characters", 1)
    try:
        return _ENVIRONMENT.from_string(template)
    except LiquidError as err:
        raise _syntax_error(err, template) from err


@dataclass(frozen=True, slots=True)
class _Message:
    """A template, read, and who it is rendered for."""

    template: str
    parsed: BoundTemplate
    profile: Profile
    now: Now

    def context(self, call: Callable[[CallRequest], Verdict]) -> BrazeContext:
        samples = {name: self.profile.namespaces[name] for name in SAMPLES if name in self.profile.namespaces}
        return BrazeContext(self.parsed, self.profile.variables(), samples, call, self.now)

    def rendered(self, context: BrazeContext) -> str:
        """Render once; placeholders are still marked.

        Raises:
            TemplateError, MessageAbortedError: as the template has it.

        """
        buffer = context.get_buffer()
        try:
            self.parsed.render_with_context(context, buffer)
        except LiquidError as err:
            raise _explained(err, self.template) from err
        except RecursionError as err:
            raise TemplateBoundError(_TOO_DEEP, 1) from err
        except UnicodeEncodeError as err:
            # JSON can spell half of a character; a text can hold it but not be sent.
            line = _line_reached(err, self.template)
            raise TemplateError("a value holds half a character (a lone surrogate)", line) from err
        except (ArithmeticError, LookupError, TypeError, ValueError) as err:
            failure = _library_failure(err, self.template)
            if failure is None:
                raise
            raise failure from err
        return buffer.getvalue()


def _unescaped(message: _Message, calls: Iterable[Inserted]) -> list[Mistake]:
    marked = MarkedAnswers(calls)
    try:
        return marked.mistakes(message.rendered(message.context(marked.call)))
    except (MessageAbortedError, TemplateError):
        # The marks took it another way, so nothing can be said about the way it really went.
        return []


def _explained(error: LiquidError, source: str) -> TemplateError:
    """Turn an error of the Liquid library into this room's type, keeping its words and finding its line."""
    token, index = error.token, None
    at = token.start_index if token is not None and token.source and token.start_index >= 0 else len(source)
    if token is not None and token.start_index == at and token.source == source:
        index = at
    kind = TemplateBoundError if isinstance(error, ResourceLimitError) else TemplateError
    return kind(str(error.message), line_of(source, at), index)


def _library_failure(error: Exception, source: str) -> TemplateError | None:
    """Explain an exception the Liquid library lets through for odd values, such as a loop offset of 1e3.

    Returns None when it was not raised inside the library: then it is a bug of this project's, and stays one.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if not frames or str(frames[-1].f_globals.get("__name__")).partition(".")[0] != "liquid":
        return None
    return TemplateError(f"a value can't be used there: {error}", _line_reached(error, source))


def _line_reached(error: Exception, source: str) -> int:
    """Return the line of the innermost tag or output that was being rendered when ``error`` was raised."""
    line = 1
    for frame, _ in walk_tb(error.__traceback__):
        node = frame.f_locals.get("self")
        # The pieces of a connected_content tag are templates of their own, with positions of their own.
        if isinstance(node, Node) and node.token.source == source:
            line = line_of(source, node.token.start_index)
    return line


def _syntax_error(error: LiquidError, template: str) -> TemplateError:
    """Explain a syntax error; the library does not say which block was left open, so this does."""
    # Errors the library does not expect while parsing are wrapped in one that says nothing.
    while type(error) is LiquidError and isinstance(error.__cause__, LiquidError):
        error = error.__cause__
    if type(error) is LiquidError and isinstance(error.__cause__, RecursionError):
        return TemplateBoundError(_TOO_DEEP, 1)
    if error.token is None or error.token.start_index < 0:
        opened: list[tuple[str, int]] = []
        for edge in _BLOCK_EDGE.finditer(template):
            if not edge.group(1):
                opened.append((edge.group(2), edge.start()))
            elif opened:
                opened.pop()
        if opened:
            name, start = opened[-1]
            message = f"{{% {name} %}} is never closed by {{% end{name} %}}"
            return TemplateError(message, line_of(template, start), start)
    return _explained(error, template)


def _wanted(parsed: BoundTemplate, variables: Mapping[str, object]) -> Wanted:
    read = parsed.analyze(include_partials=False)
    known = {*variables, DEFAULT_VARIABLE}
    unset = (
        name
        for name, uses in read.globals.items()
        # Only a variable that is looked into, such as result.reviews, stands for an answer.
        if name not in known and any(len(use.segments) > 1 for use in uses)
    )
    return Wanted(connected=DEFAULT_VARIABLE in read.variables, unset=tuple(unset))


# ---- Text that stands unescaped

# Braze escapes nothing. To find text of an answer that stands in an HTML message unescaped, the message is rendered
# once more with a mark holding < at the start of each text; where the mark comes out as it went in, so would
# whatever a review holds.

# The contract: these addresses escape their text for HTML unless told otherwise.
ESCAPING_PATHS = ("/v1/reviews", "/v1/products", "/v1/summary", "/v1/business")
# Before a space an & begins no character reference (HTML, "Ampersands"): "4 & 5" may stand as it is.
_NEEDS_ESCAPING = re.compile(r"[<>]|&(?!\s|#?\w{1,32};)")
# Ids, dates and codes can't hold markup, and a template may compare them: only words with a space are marked.
_PROSE = re.compile(r"\S\s+\S")
# A noncharacter can't be part of anyone's text.
_MARK = "\ufdd3{}<\ufdd3"
_MARKED = re.compile(r"\ufdd3(\d+)<\ufdd3")
_TEXTS_MARKED = 1_000


@dataclass(frozen=True, slots=True)
class _Text:
    """A marked text: the call it came from, the variable it is read by, and itself."""

    call: Inserted
    variable: str
    text: str


class MarkedAnswers:
    """Answers the calls of a second rendering like those of the first, with marks in the texts."""

    def __init__(self, calls: Iterable[Inserted]) -> None:
        self._calls = iter(calls)
        self._texts: list[_Text] = []

    def call(self, _asked: CallRequest) -> Verdict:
        """Return what came of the same call the first time, marked."""
        call = next(self._calls, None)
        if call is None or call.verdict is None:
            return Verdict("")
        variable = call.asked.save or DEFAULT_VARIABLE
        value = self._marked(call.verdict.value, variable, call)
        return replace(call.verdict, value=value, text=self._text(call.verdict.text, variable, call))

    def mistakes(self, output: str) -> list[Mistake]:
        """Return one mistake for each call with text that stands in the marked ``output`` unescaped."""
        found: dict[int, Mistake] = {}
        standing = [self._texts[int(mark)] for mark in dict.fromkeys(_MARKED.findall(output))]
        for marked in sorted(standing, key=lambda text: not _NEEDS_ESCAPING.search(text.text)):
            found.setdefault(id(marked.call), _mistake(marked))
        return sorted(found.values(), key=lambda mistake: mistake.line)

    def _marked(self, value: object, variable: str, call: Inserted) -> object:
        match value:
            case str():
                return self._text(value, variable, call)
            case dict():
                return {key: self._marked(inside, f"{variable}.{key}", call) for key, inside in value.items()}
            case list():
                return [self._marked(inside, f"{variable}[{at}]", call) for at, inside in enumerate(value)]
            case _:
                return value

    def _text(self, text: str, variable: str, call: Inserted) -> str:
        if _is_markup(call.url):
            return text
        is_at_risk = _NEEDS_ESCAPING.search(text) or (_PROSE.search(text) and not _is_escaped(call.url))
        if not is_at_risk or len(self._texts) >= _TEXTS_MARKED:
            return text
        self._texts.append(_Text(call, variable, text))
        return _MARK.format(len(self._texts) - 1) + text.lstrip()


def _mistake(marked: _Text) -> Mistake:
    cure = "leave out format=text, or add | escape" if "format=text" in marked.call.url else "add | escape"
    name = f"{{{{{marked.variable}}}}}"
    found = _NEEDS_ESCAPING.search(marked.text)
    if found:
        message = f"{name} holds {found[0]} and stands in the e-mail's HTML unescaped: {cure}."
    else:
        message = f"{name} is plain text in the e-mail's HTML; a review with < or & would break it: {cure}."
    return Mistake(MistakeKind.UNESCAPED_TEXT, marked.call.asked.line, message, marked.variable)


def _is_markup(url: str) -> bool:
    """Tell whether the answer is ready HTML, which nobody is to escape (the contract: ``/v1/fragment``)."""
    parts = urlsplit(url)
    return parts.path == "/v1/fragment" and parse_qs(parts.query).get("channel") != ["text"]


def _is_escaped(url: str) -> bool:
    parts = urlsplit(url)
    return parts.path in ESCAPING_PATHS and parse_qs(parts.query).get("format") != ["text"]
