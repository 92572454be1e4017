"""Braze's cache of answers: by URL, volatile, shared by every message of a workspace."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.preview.braze.wire import Response


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer is kept under: for GET the full URL (Braze: Cache Connected Content responses).

    POST answers count by their body too: the documentation speaks of "the same POST", and two bodies to one
    URL are not the same.
    """

    method: str
    url: str
    body: bytes | None = None


class AnswerCache(Protocol):
    """Keeps answers for a while. May forget any of them earlier, as Braze's does."""

    def get(self, question: Question) -> Response | None:
        """Return the answer if it is held and not too old."""
        ...

    def put(self, question: Question, answer: Response, seconds: int) -> None:
        """Keep ``answer`` for at most ``seconds``."""
        ...


class MemoryAnswers:
    """An `AnswerCache` of at most ``most`` answers; the longest unused leaves first."""

    def __init__(self, clock: Callable[[], float], most: int = 32) -> None:
        self._clock = clock
        self._most = most
        self._held: OrderedDict[Question, tuple[float, Response]] = OrderedDict()

    def get(self, question: Question) -> Response | None:
        """Return the answer if it is held and not too old."""
        held = self._held.get(question)
        if held is None:
            return None
        until, answer = held
        if self._clock() >= until:
            del self._held[question]
            return None
        self._held.move_to_end(question)
        return answer

    def put(self, question: Question, answer: Response, seconds: int) -> None:
        """Keep ``answer`` for at most ``seconds``."""
        self._held[question] = (self._clock() + seconds, answer)
        self._held.move_to_end(question)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
