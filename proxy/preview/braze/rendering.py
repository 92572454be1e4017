"""Rendering a message as Braze would, with a record of every call it makes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from liquid import BoundTemplate, Environment
from liquid.exceptions import LiquidError
from liquid.token import Token

from proxy.preview.braze import dialect, rules
from proxy.preview.braze.bounds import (
    TemplateBoundError,
    TemplateError,
    explained,
    library_failure,
    line_of,
    line_reached,
)
from proxy.preview.braze.dates import Now, utc_now
from proxy.preview.braze.dialect import BrazeContext, Calls
from proxy.preview.braze.exchange import CallRecord, Exchange
from proxy.preview.braze.markup import PROFILE, tokenize
from proxy.preview.braze.mistakes import Inserted, MarkedAnswers, Mistake, Wanted
from proxy.preview.braze.rules import DEFAULT_VARIABLE, Channel
from proxy.preview.braze.tags import AbortTag, ConnectedContentTag, MessageAbortedError
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
        for name in ("include", "render"):
            del self.tags[name]
        dialect.register(self)
        self.add_tag(ConnectedContentTag)
        self.add_tag(AbortTag)


_ENVIRONMENT = BrazeEnvironment()
_BLOCK_EDGE = re.compile(r"\{%-?\s*(end)?(if|unless|case|for|tablerow|capture|ifchanged)\b")
_TOO_DEEP = "the template is nested too deeply"


@dataclass(frozen=True, slots=True)
class Profile:
    """The person a message is rendered for, and what triggered it. Values are what JSON can hold.

    ``attributes`` are read as ``{{${first_name}}}``, ``custom_attributes`` as ``{{custom_attribute.${x}}}``,
    the properties under their own names; ``canvas_entry_properties`` also as ``{{context.${x}}}``.
    ``namespaces`` holds anything else Braze knows, such as ``{"campaign": {"name": "Spring"}}`` for
    ``{{campaign.${name}}}``. Source: Braze: Supported personalization tags.
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
            **self.namespaces,
            PROFILE: self.attributes,
            "custom_attribute": self.custom_attributes,
            "event_properties": self.event_properties,
            "api_trigger_properties": self.api_trigger_properties,
            "canvas_entry_properties": self.canvas_entry_properties,
            "context": self.canvas_entry_properties,
        }


@dataclass(frozen=True, slots=True)
class Rendering:
    """What became of a message.

    ``aborted`` is the reason it is not sent, or None; ``output`` is then empty. ``calls`` are in the order
    they were made.
    """

    output: str
    aborted: str | None
    calls: tuple[CallRecord, ...]
    mistakes: tuple[Mistake, ...]


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
    parsed = parse(template)
    variables = profile.variables()
    exchange = Exchange(
        transport=transport,
        credentials=credentials,
        clock=clock,
        cache=cache,
        wanted=_wanted(parsed, variables),
        channel=channel,
    )
    for retry in range(rules.RETRIES + 1):
        if retry:
            sleep(rules.backoff_seconds(retry))
        exchange.begin_pass()
        try:
            output = _one_pass(template, parsed, variables, exchange, now)
        except MessageAbortedError as abort:
            exchange.note_abort()
            return Rendering("", abort.reason, exchange.calls, exchange.mistakes)
        if not exchange.to_retry:
            if channel is not None and channel.is_html:
                exchange.note_mistakes(_unescaped(template, parsed, variables, exchange.inserted, now))
            return Rendering(output, None, exchange.calls, exchange.mistakes)
    reason = exchange.give_up()
    return Rendering("", reason, exchange.calls, exchange.mistakes)


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


def _one_pass(
    template: str, parsed: BoundTemplate, variables: Mapping[str, object], exchange: Calls, now: Now
) -> str:
    context = BrazeContext(parsed, variables, exchange, now)
    buffer = context.get_buffer()
    try:
        parsed.render_with_context(context, buffer)
    except LiquidError as err:
        raise explained(err, template) from err
    except RecursionError as err:
        raise TemplateBoundError(_TOO_DEEP, 1) from err
    except UnicodeEncodeError as err:
        # JSON can spell half of a character; a text can hold it but not be sent.
        line = line_reached(err, template)
        raise TemplateError("a value holds half a character (a lone surrogate)", line) from err
    except (ArithmeticError, LookupError, TypeError, ValueError) as err:
        failure = library_failure(err, template)
        if failure is None:
            raise
        raise failure from err
    return buffer.getvalue()


def _unescaped(
    template: str, parsed: BoundTemplate, variables: Mapping[str, object], calls: Iterable[Inserted], now: Now
) -> list[Mistake]:
    marked = MarkedAnswers(calls)
    try:
        return marked.mistakes(_one_pass(template, parsed, variables, marked, now))
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
            return TemplateError(message, line_of(template, start))
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
