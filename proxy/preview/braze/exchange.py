"""The calls of one rendering: each one sent, judged by Braze's rules, and recorded for a debugger to show."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from proxy.preview.braze import mistakes as found
from proxy.preview.braze import rules
from proxy.preview.braze.bounds import BoundReachedError
from proxy.preview.braze.call import CallRequest, NotSentError, Outgoing, outgoing
from proxy.preview.braze.mistakes import Inserted, Mistake, MistakeKind, Wanted
from proxy.preview.braze.rules import DEFAULT_VARIABLE, Channel, Verdict, judged, too_late, without_answer
from proxy.preview.braze.wire import (
    AnswerCache,
    Credentials,
    Question,
    Redaction,
    RefusedError,
    Request,
    Response,
    Transport,
    TransportError,
)

BODY_SHOWN_CHARACTERS = 20_000


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
    answer: Response | None = None
    seconds: float | None = None
    from_cache: bool = False
    refused: bool = False


class Exchange:
    """Makes the calls of one message.

    A message whose ``:retry`` call failed is rendered again from the start, as Braze puts it at the back of
    the queue. Each time is a *pass*; calls that were settled in an earlier pass are not sent again.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        credentials: Credentials,
        clock: Callable[[], float],
        cache: AnswerCache,
        wanted: Wanted,
        channel: Channel | None,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._cache = cache
        self._wanted = wanted
        self._channel = channel
        self._redaction = Redaction()
        self._settled: dict[tuple[int, Question], _Result] = {}
        self._attempts: dict[tuple[int, Question], int] = {}
        self._calls: list[CallRecord] = []
        self._mistakes: list[Mistake] = []
        self._to_retry: list[int] = []
        self._inserted: list[Inserted] = []

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        """The calls of this pass, in the order they were made."""
        return tuple(self._calls)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes this pass brought to light, with secrets starred."""
        return tuple(replace(m, message=self._redaction.text(m.message)) for m in self._mistakes)

    @property
    def to_retry(self) -> bool:
        """Whether a call with ``:retry`` failed in this pass."""
        return bool(self._to_retry)

    def begin_pass(self) -> None:
        """Start over; what is settled stays settled."""
        self._calls.clear()
        self._mistakes.clear()
        self._to_retry.clear()
        self._inserted.clear()

    def abandon(self) -> str:
        """Record that the retries are used up; return the reason the message is aborted with."""
        outcome = ""
        for index in self._to_retry:
            record = self._calls[index]
            outcome = f"{record.outcome}; failed {record.attempts} times, so the message is aborted"
            self._calls[index] = replace(record, outcome=outcome)
        return f"Connected Content: {outcome}"

    @property
    def inserted(self) -> tuple[Inserted, ...]:
        """What came of each call of this pass, in the order they were made."""
        return tuple(self._inserted)

    def note_mistakes(self, mistakes: Iterable[Mistake]) -> None:
        """Record what can only be seen in the finished message."""
        self._mistakes += mistakes

    def note_abort(self) -> None:
        """Record that the template aborted although ``:retry`` would have tried again.

        Braze: Use retry logic for Connected Content, "Connected Content calls with abort and retry logic".
        """
        for index in self._to_retry:
            line = self._calls[index].line
            message = "abort_message was reached first, so Braze never uses :retry; leave one of them out."
            self._mistakes.append(Mistake(MistakeKind.ABORT_BEFORE_RETRY, line, message))

    def call(self, asked: CallRequest) -> Verdict:
        """Make one call, from the cache where Braze would, and return what becomes of it.

        Raises:
            BoundReachedError: the message has made too many calls.

        """
        if len(self._calls) >= rules.CALLS_PER_RENDER:
            raise BoundReachedError(f"more than {rules.CALLS_PER_RENDER} calls in one message", token=None)
        if asked.retry and self._channel is not None and not self._channel.retries:
            self._mistakes.append(found.retry_not_available(asked.line))
            asked = replace(asked, retry=False)
        try:
            ready = outgoing(asked, self._credentials)
        except NotSentError as err:
            return self._not_sent(asked, str(err))
        request = ready.request
        self._mistakes += found.unescaped_characters(ready.unescaped, asked.line)
        self._mistakes += found.unusual_port(request.url, asked.line)
        self._mistakes += found.empty_parameters(asked.written_url, request.url, asked.line)
        self._mistakes += found.clamped_age(asked.cache_max_age, asked.line)
        position = (len(self._calls), Question(request.method, request.url, request.body))
        result = self._settled.get(position)
        if result is None:
            result = self._result(asked, request, position)
        self._record(asked, ready, result, self._attempts.get(position, 0))
        if result.refused:
            message = self._redaction.text(result.verdict.outcome)
            self._mistakes.append(Mistake(MistakeKind.NOT_SENT, asked.line, f"{message}."))
        self._inserted.append(Inserted(asked, request.url, result.verdict))
        return result.verdict

    def _result(self, asked: CallRequest, request: Request, position: tuple[int, Question]) -> _Result:
        question = position[1]
        seconds = rules.cache_seconds(asked.method, asked=asked.cache_max_age, no_cache=asked.no_cache)
        cached = self._cache.get(question) if seconds is not None else None
        if cached is not None:
            result = _Result(judged(cached, asked.save, asked.rerender), cached, from_cache=True)
        else:
            result = self._sent(request, asked)
            if not result.refused:
                self._attempts[position] = self._attempts.get(position, 0) + 1
            if result.answer is not None and result.verdict.succeeded and seconds is not None:
                self._cache.put(question, result.answer, seconds)
        if not (asked.retry and result.verdict.failed):
            self._settled[position] = result
        return result

    def _sent(self, request: Request, asked: CallRequest) -> _Result:
        started = self._clock()
        try:
            answer = self._transport.send(request)
        except TransportError as err:
            refused = isinstance(err, RefusedError)
            return _Result(without_answer(err), seconds=None if refused else self._clock() - started, refused=refused)
        seconds = self._clock() - started
        if seconds > rules.ANSWER_SECONDS:
            return _Result(too_late(), answer, seconds)
        return _Result(judged(answer, asked.save, asked.rerender), answer, seconds)

    def _record(self, asked: CallRequest, ready: Outgoing, result: _Result, attempts: int) -> None:
        request, verdict, answer = ready.request, result.verdict, result.answer
        if asked.retry and verdict.failed:
            self._to_retry.append(len(self._calls))
        # Request headers first: what is secret there is then starred in the URL, the body and the answer too.
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
            saved_as=(asked.save or DEFAULT_VARIABLE) if verdict.value is not None else None,
        )
        if answer is not None:
            record = self._with_answer(record, asked, answer, verdict)
        self._calls.append(record)

    def _with_answer(self, record: CallRecord, asked: CallRequest, answer: Response, verdict: Verdict) -> CallRecord:
        self._mistakes += found.said_by_answer(answer, asked.line)
        if verdict.is_json and asked.save is None:
            self._mistakes += found.missing_save(self._wanted, asked.line)
        elif verdict.value is not None and not verdict.is_json:
            message = f":save {asked.save} keeps the answer as plain text, because it is not JSON."
            self._mistakes.append(Mistake(MistakeKind.NOT_JSON, asked.line, message))
        body = self._redaction.text(answer.body.decode("utf-8-sig", errors="replace"))
        seconds = rules.cache_seconds(asked.method, asked=asked.cache_max_age, no_cache=asked.no_cache)
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

    def _not_sent(self, asked: CallRequest, reason: str) -> Verdict:
        verdict = Verdict(f"not sent, nothing is inserted: {reason}")
        headers = self._redaction.headers(asked.headers)
        self._calls.append(
            CallRecord(
                line=asked.line,
                url=self._redaction.url(asked.url),
                method=asked.method,
                request_headers=headers,
                request_body=self._shown_body(asked.body.encode() if asked.body is not None else None),
                outcome=verdict.outcome,
            )
        )
        self._inserted.append(Inserted(asked, asked.url, None))
        self._mistakes.append(Mistake(MistakeKind.NOT_SENT, asked.line, f"the call is not sent: {reason}."))
        return verdict
