"""Rendering a message as Braze would, with a record of every call it makes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from liquid import BoundTemplate, Environment
from liquid.exceptions import LiquidError
from liquid.token import Token

from proxy.preview.braze import dialect, objects, rules
from proxy.preview.braze.bounds import (
    TemplateBoundError,
    TemplateError,
    explained,
    library_failure,
    line_of,
    line_reached,
)
from proxy.preview.braze.context import BrazeContext, Calls
from proxy.preview.braze.empties import Empty
from proxy.preview.braze.exchange import CallRecord, Exchange
from proxy.preview.braze.markup import PROFILE, tokenize
from proxy.preview.braze.mistakes import Inserted, MarkedAnswers, Mistake, Wanted
from proxy.preview.braze.objects import SAMPLES, placeholders, shown
from proxy.preview.braze.ruby import Now, in_utc, utc_now
from proxy.preview.braze.rules import DEFAULT_VARIABLE, Channel
from proxy.preview.braze.tags import TAGS, ConnectedContentTag, MessageAbortedError
from proxy.preview.braze.wire import AnswerCache, Credentials, Transport


class BrazeEnvironment(Environment):
    """Liquid with Braze's syntax, tags and filters, and without what reads other templates."""

    local_namespace_limit = rules.VARIABLE_BYTES

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        """Return a lexer that reads ``${attributes}``."""
        return partial(tokenize, lexer=super().tokenizer())

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register Liquid's own tags, then Braze's; filters come with each rendering."""
        super().setup_tags_and_filters(extra=extra)
        del self.tags["include"]
        dialect.register(self)
        for tag in (ConnectedContentTag, *TAGS):
            self.add_tag(tag)


_ENVIRONMENT = BrazeEnvironment()
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
            **objects.namespaces(self.namespaces),
            PROFILE: objects.known(in_utc(self.attributes)),
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
    cache: AnswerCache,
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
    for retry in range(rules.RETRIES + 1):
        if retry:
            sleep(rules.backoff_seconds(retry))
        exchange.begin_pass()
        context = message.context(exchange)
        try:
            output = message.rendered(context)
        except MessageAbortedError as abort:
            exchange.note_abort()
            return Rendering("", abort.reason, exchange.calls, exchange.mistakes, context.empties.found)
        if not exchange.to_retry:
            exchange.note_mistakes(context.mistakes)
            if is_html:
                exchange.note_mistakes(_unescaped(message, exchange.inserted))
            return Rendering(
                shown(output, is_html=is_html),
                None,
                exchange.calls,
                exchange.mistakes,
                context.empties.found,
                placeholders(output),
            )
    reason = exchange.abandon()
    return Rendering("", reason, exchange.calls, exchange.mistakes, context.empties.found)


def parse(template: str) -> BoundTemplate:
    """Read a template without rendering it.

    Raises:
        TemplateError, TemplateBoundError: as `render`.

    """
    if len(template) > rules.TEMPLATE_CHARACTERS:
        raise TemplateBoundError(f"the template is longer than {rules.TEMPLATE_CHARACTERS} characters", 1)
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

    def context(self, exchange: Calls) -> BrazeContext:
        """Return the state of a new rendering."""
        samples = {name: self.profile.namespaces[name] for name in SAMPLES if name in self.profile.namespaces}
        return BrazeContext(self.parsed, self.profile.variables(), samples, exchange, self.now)

    def rendered(self, context: BrazeContext) -> str:
        """Render once; placeholders are still marked.

        Raises:
            TemplateError, MessageAbortedError: as the template has it.

        """
        buffer = context.get_buffer()
        try:
            self.parsed.render_with_context(context, buffer)
        except LiquidError as err:
            raise explained(err, self.template) from err
        except RecursionError as err:
            raise TemplateBoundError(_TOO_DEEP, 1) from err
        except UnicodeEncodeError as err:
            # JSON can spell half of a character; a text can hold it but not be sent.
            line = line_reached(err, self.template)
            raise TemplateError("a value holds half a character (a lone surrogate)", line) from err
        except (ArithmeticError, LookupError, TypeError, ValueError) as err:
            failure = library_failure(err, self.template)
            if failure is None:
                raise
            raise failure from err
        return buffer.getvalue()


def _unescaped(message: _Message, calls: Iterable[Inserted]) -> list[Mistake]:
    marked = MarkedAnswers(calls)
    try:
        return marked.mistakes(message.rendered(message.context(marked)))
    except (MessageAbortedError, TemplateError):
        # The marks took it another way, so nothing can be said about the way it really went.
        return []


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
    return explained(error, template)


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
