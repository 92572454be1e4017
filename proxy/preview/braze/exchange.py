"""The calls of one rendering: each sent, judged by Braze's rules, recorded for a debugger, and its mistakes told."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from proxy.preview.braze import wire
from proxy.preview.braze.markup import BoundReachedError, output_end

# Not Braze's: a page that renders other people's templates has to stop somewhere.
CALLS_PER_RENDER = 20

# Braze: Make a Connected Content call, "Error handling".
_PORTS = frozenset({80, 443})

# Braze: Local Connected Content variables.
_STATUS_KEY = "__http_status_code__"

# ---- What Braze does with an answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one answer.

    ``value`` goes into the variable, ``text`` into the message in place of the tag, ``outcome`` says it in
    plain words. ``failed`` marks what ``:retry`` tries again. ``is_json`` is about the answer, not about
    its header.
    """

    outcome: str
    value: object = None
    text: str = ""
    succeeded: bool = False
    failed: bool = False
    is_json: bool = False


_TOO_LARGE = Verdict("over 1 MB: refused, nothing is inserted and nothing is cached")
_TOO_LATE = Verdict(f"no answer within {wire.ANSWER_SECONDS:g} seconds: nothing is inserted", failed=True)


def _judged(answer: wire.Response, save: str | None, rerender: Callable[[str], str] | None = None) -> Verdict:
    """Return what Braze does with ``answer`` when the tag says ``:save save`` (or does not).

    ``rerender`` renders the Liquid in it before anything else (Braze: Pull user profile data).
    """
    status = answer.status
    if len(answer.body) > wire.BODY_BYTES:
        return _TOO_LARGE
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _inserted(answer, save, rerender)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Verdict(f"redirect not followed: nothing is inserted ({_named(status)})")
    more = ""
    if status == HTTPStatus.NOT_FOUND:
        more = "; the message goes out without it"
    elif HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        more = "; Braze logs an endpoint error"
    is_failure = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Verdict(f"nothing is inserted: {_named(status)}{more}", failed=is_failure)


def _without_answer(error: wire.TransportError) -> Verdict:
    """Return what Braze does when no answer was had."""
    match error:
        case wire.BodyTooLargeError():
            return _TOO_LARGE
        case wire.RefusedError():
            return Verdict(f"refused, nothing was sent: {error}")
        case wire.NoAnswerInTimeError():
            return _TOO_LATE
        case _:
            return Verdict(f"nothing is inserted: no connection ({error})", failed=True)


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _inserted(answer: wire.Response, save: str | None, rerender: Callable[[str], str] | None) -> Verdict:
    text = answer.body.decode("utf-8-sig", errors="replace")
    if rerender is not None:
        text = rerender(text)
    if not text:
        return Verdict("nothing is inserted: the answer is empty", succeeded=True)
    variable = save or wire.DEFAULT_VARIABLE
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        if save is None:
            return Verdict("text: inserted in place of the tag", text=text, succeeded=True)
        # Not documented; the token example of "Make a Connected Content call" reads a saved text this way.
        return Verdict(f"not JSON: {{{{{variable}}}}} holds the text", value=text, succeeded=True)
    if isinstance(value, dict):
        value[_STATUS_KEY] = answer.status
    return Verdict(f"JSON: saved as {{{{{variable}}}}}", value=value, succeeded=True, is_json=True)


def _refuse_constant(name: str) -> object:
    # Python reads NaN and Infinity; JSON has neither.
    raise ValueError(name)


# ---- What is wrong with a call

BODY_SHOWN_CHARACTERS = 20_000
_PROBLEM = "application/problem+json"
_FILLED_PARAMETER = re.compile(r"[?&]([^=&?#{}\s]+)=(?=\{\{)")
_SKU_NAMES = frozenset({"sku", "skus"})


class MistakeKind(StrEnum):
    """What sort of mistake it is, for a page that shows some of them differently."""

    EMPTY_PARAMETER = "empty-parameter"
    MISSING_SAVE = "missing-save"
    IGNORED_PARAMETERS = "ignored-parameters"
    PROBLEM = "problem"
    PORT = "port"
    URL_CHARACTERS = "url-characters"
    CACHE_AGE = "cache-age"
    NOT_SENT = "not-sent"
    NOT_JSON = "not-json"
    ABORT_BEFORE_RETRY = "abort-before-retry"
    RETRY_NOT_AVAILABLE = "retry-not-available"
    UNESCAPED_TEXT = "unescaped-text"
    MESSAGE_EXTRAS = "message-extras"
    COMPARED = "compared"
    WHOLE_LIST = "whole-list"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: its kind, the line of the tag it is about (from 1), and a sentence or two.

    ``names`` is the part of the template that the sentence names, or what is to stand there: a variable, parameters.
    """

    kind: MistakeKind
    line: int
    message: str
    names: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the template reads without setting it: whether ``connected``, and which other variables."""

    connected: bool = False
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One Connected Content call, with secrets starred, as Braze's debugger would show it.

    ``status`` is None when no answer was had, ``duration_ms`` when none was waited for. ``attempts`` counts
    what was really sent. ``body_bytes`` is the size on arrival; ``body`` is cut after 20,000 characters and
    ``body_cut`` says so. ``saved_as`` names the variable the answer is in, if it is in one. ``outcome``
    says in plain words what Braze does with it.
    """

    line: int
    url: str
    method: str
    request_headers: Mapping[str, str]
    request_body: str | None
    outcome: str
    succeeded: bool = False
    status: int | None = None
    duration_ms: float | None = None
    attempts: int = 0
    response_headers: Mapping[str, str] | None = None
    body: str = ""
    body_bytes: int = 0
    body_cut: bool = False
    from_cache: bool = False
    cached_seconds: int | None = None
    saved_as: str | None = None


@dataclass(frozen=True, slots=True)
class _Result:
    """What came of one call, however it came."""

    verdict: Verdict
    answer: wire.Response | None = None
    seconds: float | None = None
    from_cache: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Inserted:
    """One call: what was asked, the URL it went to, and what came of it; None when it was not sent."""

    asked: wire.CallRequest
    url: str
    verdict: Verdict | None


def _of_request(asked: wire.CallRequest, ready: wire.Outgoing) -> Iterator[Mistake]:
    """Tell what is wrong with a call that is about to be made."""
    if ready.unescaped:
        # Braze: Make a Connected Content call, "Adding variables".
        shown = ", ".join("a space" if c.isspace() else c for c in ready.unescaped)
        message = f"the URL holds {shown}, not allowed in URLs: pass the variable through | url_param_escape. "
        message += "It was escaped here; what Braze does with it is not documented."
        yield Mistake(MistakeKind.URL_CHARACTERS, asked.line, message)
    port = urlsplit(ready.request.url).port
    if port is not None and port not in _PORTS:
        message = f"Braze calls ports 80 and 443 only; port {port} works in this preview but not in Braze."
        yield Mistake(MistakeKind.PORT, asked.line, message)
    for name, because, expression in _empty_parameters(asked.written_url, ready.request.url):
        yield Mistake(MistakeKind.EMPTY_PARAMETER, asked.line, f"{name}= arrives empty: {because}.", expression)
    age = asked.cache_max_age
    if age is not None and (used := wire.clamped_cache_seconds(age)) != age:
        message = f":cache_max_age {age} becomes {used}: Braze caches for 5 minutes to 4 hours."
        yield Mistake(MistakeKind.CACHE_AGE, asked.line, message, str(used))


def _empty_parameters(written: str, rendered: str) -> Iterator[tuple[str, str, str]]:
    """Yield the parameters of the URL that arrive empty, why, and the output that rendered to nothing."""
    filled = {match[1]: match.end() for match in _FILLED_PARAMETER.finditer(written)}
    for part in dict.fromkeys(urlsplit(rendered).query.split("&")):
        name, equals, value = part.partition("=")
        if not equals or unquote(value).strip(", "):
            continue
        if name in filled:
            expression = written[filled[name] : output_end(written, filled[name])]
            because = f"{expression} rendered to nothing; the person or the event has no such value"
            yield name, because, expression
        elif name in _SKU_NAMES:
            yield name, "the URL gives it no value", ""


def _of_answer(asked: wire.CallRequest, answer: wire.Response, verdict: Verdict, wanted: Wanted) -> Iterator[Mistake]:
    """Tell what the answer itself says is wrong, and what can't be done with it."""
    if ignored := answer.header("X-Ignored-Parameters"):
        message = f"the proxy does not know these parameters and ignored them: {ignored}."
        yield Mistake(MistakeKind.IGNORED_PARAMETERS, asked.line, message, ignored)
    if (answer.header("Content-Type") or "").partition(";")[0].strip().lower() == _PROBLEM:
        yield Mistake(MistakeKind.PROBLEM, asked.line, _problem_detail(answer), str(answer.status))
    if verdict.is_json and asked.save is None and not wanted.connected:
        # Nothing in the template can reach it.
        hint = "add :save and a name, or read it as {{connected}}"
        if wanted.unset:
            names = " or ".join(wanted.unset)
            hint = f"the template reads {names}, which nothing sets: add :save {wanted.unset[0]}"
        message = f"the answer is JSON but the tag has no :save; {hint}."
        yield Mistake(MistakeKind.MISSING_SAVE, asked.line, message, wanted.unset[0] if wanted.unset else "")
    elif verdict.value is not None and not verdict.is_json:
        message = f":save {asked.save} keeps the answer as plain text, because it is not JSON."
        yield Mistake(MistakeKind.NOT_JSON, asked.line, message)


def _problem_detail(answer: wire.Response) -> str:
    try:
        problem = json.loads(answer.body)
    except (ValueError, RecursionError):
        return f"the answer is {answer.status} and calls itself a problem, but can't be read."
    detail = problem.get("detail") or problem.get("title") if isinstance(problem, dict) else None
    said = f"the answer is {answer.status}: {detail}" if detail else f"the answer is {answer.status}"
    return said if said.endswith((".", "!", "?", "…")) else f"{said}."


@dataclass(kw_only=True)
class Exchange:
    """Makes the calls of one message.

    A message whose ``:retry`` call failed is rendered again from the start, as Braze puts it at the back of
    the queue. Each time is a *pass*; calls that were settled in an earlier pass are not sent again.
    """

    transport: wire.Transport
    credentials: wire.Credentials
    clock: Callable[[], float]
    cache: wire.MemoryAnswers
    wanted: Wanted
    channel: wire.Channel | None
    _redaction: wire.Redaction = field(default_factory=wire.Redaction)
    _settled: dict[tuple[int, wire.Question], _Result] = field(default_factory=dict)
    _attempts: dict[tuple[int, wire.Question], int] = field(default_factory=dict)
    _mistakes: list[Mistake] = field(default_factory=list)
    # Of this pass, in the order they were made; to_retry are the places of those with :retry that failed.
    calls: list[CallRecord] = field(default_factory=list)
    inserted: list[Inserted] = field(default_factory=list)
    to_retry: list[int] = field(default_factory=list)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes this pass brought to light, with secrets starred."""
        return tuple(replace(m, message=self._redaction.text(m.message)) for m in self._mistakes)

    def begin_pass(self) -> None:
        """Start over; what is settled stays settled."""
        self.calls.clear()
        self._mistakes.clear()
        self.to_retry.clear()
        self.inserted.clear()

    def abandon(self) -> str:
        """Record that the retries are used up; return the reason the message is aborted with."""
        outcome = ""
        for index in self.to_retry:
            record = self.calls[index]
            outcome = f"{record.outcome}; failed {record.attempts} times, so the message is aborted"
            self.calls[index] = replace(record, outcome=outcome)
        return f"Connected Content: {outcome}"

    def note_mistakes(self, mistakes: Iterable[Mistake]) -> None:
        """Record what can only be seen in the finished message."""
        self._mistakes += mistakes

    def _note(self, kind: MistakeKind, line: int, message: str) -> None:
        self._mistakes.append(Mistake(kind, line, message))

    def note_abort(self) -> None:
        """Record that the template aborted although ``:retry`` would have tried again.

        Braze: Use retry logic for Connected Content, "Connected Content calls with abort and retry logic".
        """
        for index in self.to_retry:
            message = "abort_message was reached first, so Braze never uses :retry; leave one of them out."
            self._note(MistakeKind.ABORT_BEFORE_RETRY, self.calls[index].line, message)

    def call(self, asked: wire.CallRequest) -> Verdict:
        """Make one call, from the cache where Braze would, and return what becomes of it.

        Raises:
            BoundReachedError: the message has made too many calls.

        """
        if len(self.calls) >= CALLS_PER_RENDER:
            raise BoundReachedError(f"more than {CALLS_PER_RENDER} calls in one message", token=None)
        if asked.retry and self.channel is not None and not self.channel.retries:
            # Braze: Use retry logic for Connected Content.
            message = ":retry does nothing here: Braze has no retries for in-app messages. Leave it out."
            self._note(MistakeKind.RETRY_NOT_AVAILABLE, asked.line, message)
            asked = replace(asked, retry=False)
        try:
            ready = wire.outgoing(asked, self.credentials)
        except wire.NotSentError as err:
            return self._not_sent(asked, str(err))
        request = ready.request
        self.note_mistakes(_of_request(asked, ready))
        position = (len(self.calls), wire.Question(request.method, request.url, request.body))
        result = self._settled.get(position)
        if result is None:
            result = self._result(asked, request, position)
        self._record(asked, ready, result, self._attempts.get(position, 0))
        if result.refused:
            self._note(MistakeKind.NOT_SENT, asked.line, f"{result.verdict.outcome}.")
        self.inserted.append(Inserted(asked, request.url, result.verdict))
        return result.verdict

    def _result(self, asked: wire.CallRequest, request: wire.Request, position: tuple[int, wire.Question]) -> _Result:
        question = position[1]
        seconds = wire.cache_seconds(asked.method, asked=asked.cache_max_age, no_cache=asked.no_cache)
        cached = self.cache.get(question) if seconds is not None else None
        if cached is not None:
            result = _Result(_judged(cached, asked.save, asked.rerender), cached, from_cache=True)
        else:
            result = self._sent(request, asked)
            if not result.refused:
                self._attempts[position] = self._attempts.get(position, 0) + 1
            if result.answer is not None and result.verdict.succeeded and seconds is not None:
                self.cache.put(question, result.answer, seconds)
        if not (asked.retry and result.verdict.failed):
            self._settled[position] = result
        return result

    def _sent(self, request: wire.Request, asked: wire.CallRequest) -> _Result:
        started = self.clock()
        try:
            answer = self.transport.send(request)
        except wire.TransportError as err:
            refused = isinstance(err, wire.RefusedError)
            return _Result(_without_answer(err), seconds=None if refused else self.clock() - started, refused=refused)
        seconds = self.clock() - started
        if seconds > wire.ANSWER_SECONDS:
            return _Result(_TOO_LATE, answer, seconds)
        return _Result(_judged(answer, asked.save, asked.rerender), answer, seconds)

    def _record(self, asked: wire.CallRequest, ready: wire.Outgoing, result: _Result, attempts: int) -> None:
        request, verdict, answer = ready.request, result.verdict, result.answer
        if asked.retry and verdict.failed:
            self.to_retry.append(len(self.calls))
        # wire.Request headers first: what is secret there is then starred in the URL, the body and the answer too.
        headers = self._redaction.headers(request.headers, ready.secret_headers)
        record = CallRecord(
            line=asked.line,
            url=self._redaction.url(request.url),
            method=request.method,
            request_headers=headers,
            request_body=self._shown_body(request.body),
            outcome=self._redaction.text(verdict.outcome),
            succeeded=verdict.succeeded,
            duration_ms=None if result.seconds is None else round(result.seconds * 1000, 1),
            attempts=attempts,
            from_cache=result.from_cache,
            saved_as=(asked.save or wire.DEFAULT_VARIABLE) if verdict.value is not None else None,
        )
        if answer is not None:
            record = self._with_answer(record, asked, answer, verdict)
        self.calls.append(record)

    def _with_answer(
        self, record: CallRecord, asked: wire.CallRequest, answer: wire.Response, verdict: Verdict
    ) -> CallRecord:
        self.note_mistakes(_of_answer(asked, answer, verdict, self.wanted))
        body = self._redaction.text(answer.body.decode("utf-8-sig", errors="replace"))
        seconds = wire.cache_seconds(asked.method, asked=asked.cache_max_age, no_cache=asked.no_cache)
        return replace(
            record,
            status=answer.status,
            response_headers=self._redaction.headers(answer.headers),
            body=body[:BODY_SHOWN_CHARACTERS],
            body_bytes=len(answer.body),
            body_cut=len(body) > BODY_SHOWN_CHARACTERS,
            cached_seconds=seconds if verdict.succeeded else None,
        )

    def _shown_body(self, body: bytes | None) -> str | None:
        return None if body is None else self._redaction.form(body.decode())[:BODY_SHOWN_CHARACTERS]

    def _not_sent(self, asked: wire.CallRequest, reason: str) -> Verdict:
        verdict = Verdict(f"not sent, nothing is inserted: {reason}")
        headers = self._redaction.headers(asked.headers)
        self.calls.append(
            CallRecord(
                line=asked.line,
                url=self._redaction.url(asked.url),
                method=asked.method,
                request_headers=headers,
                request_body=self._shown_body(asked.body.encode() if asked.body is not None else None),
                outcome=verdict.outcome,
            )
        )
        self.inserted.append(Inserted(asked, asked.url, None))
        self._note(MistakeKind.NOT_SENT, asked.line, f"the call is not sent: {reason}.")
        return verdict
