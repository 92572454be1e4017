"""The way every call to Trustpilot takes: a place, the breaker, the budget, the call, and what it tells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from proxy.clock import Priority
from proxy.events import Report, unheard
from proxy.trustpilot.breaker import Breaker, Call
from proxy.trustpilot.budget import Budget
from proxy.trustpilot.errors import (
    BudgetSpent,
    Busy,
    Failing,
    Malformed,
    NotFound,
    Paused,
    RateLimited,
    Refused,
    Rejected,
    TrustpilotError,
    TurnedAway,
)
from proxy.trustpilot.reports import AnswerMalformed, CallNotMade
from proxy.trustpilot.retry_after import seconds_told
from proxy.trustpilot.transport import FIREWALL, Reply, Sender

T = TypeVar("T")

REFRESHES_AT_ONCE = 8
"""When Trustpilot hangs, this many calls are lost finding out. Two in a second are already more than the hourly
budget allows for refreshing, so they need no more places."""


class Gate:
    """Makes calls while they are affordable and Trustpilot answers them."""

    def __init__(
        self,
        breaker: Breaker,
        budget: Budget,
        *,
        refreshes: int = REFRESHES_AT_ONCE,
        report: Report = unheard,
    ) -> None:
        self._breaker = breaker
        self._budget = budget
        self._report = report
        self._refreshes = threading.BoundedSemaphore(refreshes)

    def call(self, call: Call, send: Callable[[], Reply], read: Callable[[bytes], T], *, priority: Priority) -> T:
        """Return what ``read`` makes of a 200's body.

        ``call`` names it; ``priority``: whether somebody waits for it.

        Raises :class:`~proxy.trustpilot.errors.TrustpilotError`. :class:`Paused`, :class:`BudgetSpent` and
        :class:`Busy` mean that no call was made.
        """
        try:
            return self._call(call, send, read, priority=priority)
        except (Paused, BudgetSpent, Busy) as error:
            self._report(CallNotMade(type(error).__name__.lower()))
            raise
        except Malformed:
            self._report(AnswerMalformed())
            raise

    def _call(self, call: Call, send: Callable[[], Reply], read: Callable[[bytes], T], *, priority: Priority) -> T:
        with self._place(priority=priority):
            attempt = self._breaker.admit(call)
            try:
                self._budget.take(priority=priority)
                answer = read(sound(send()).body)
            except (NotFound, Rejected):
                # Trustpilot works; this request is what is wrong.
                attempt.succeeded()
                raise
            except (BudgetSpent, Busy):
                attempt.withdrawn()
                raise
            except TrustpilotError as error:
                attempt.failed(error)
                raise
            except BaseException:
                attempt.withdrawn()
                raise
            attempt.succeeded()
            return answer

    @contextmanager
    def _place(self, *, priority: Priority) -> Iterator[None]:
        if priority is Priority.FOREGROUND:
            yield
            return
        if not self._refreshes.acquire(blocking=False):
            raise Busy("too many refreshes are under way")
        try:
            yield
        finally:
            self._refreshes.release()


class BudgetedSender:
    """Makes the private calls, token and invitations, within the budget.

    They pass no breaker: a token is asked for once in days, and a failed invitation comes again from Braze, which
    waits longer each time. A pause would only make those fail that Trustpilot could have taken by then.
    """

    def __init__(self, sender: Sender, budget: Budget) -> None:
        self._sender = sender
        self._budget = budget

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], data: bytes, timeout: float | None = None
    ) -> Reply:
        """Return the answer, whatever its status. Raises :class:`BudgetSpent` when no call could be made."""
        self._budget.take(priority=Priority.FOREGROUND)
        return self._sender.send(method, url, headers=headers, data=data, timeout=timeout)


def sound(reply: Reply) -> Reply:
    """Return ``reply`` if it is a 200, else raise what its status means."""
    if reply.status == 200:
        return reply
    told = seconds_told(reply.headers.get("Retry-After"))
    if reply.is_firewall_page:
        raise TurnedAway(FIREWALL, told=told)
    if reply.status in (401, 403):
        raise Refused("Trustpilot refuses the proxy's API key", told=told)
    if reply.status == 404:
        raise NotFound("Trustpilot does not know this", told=told)
    if reply.status == 429:
        raise RateLimited("Trustpilot's rate limit is reached", told=told)
    if 400 <= reply.status < 500 and reply.status != 408:
        raise Rejected(f"Trustpilot rejects this request with {reply.status}", told=told)
    raise Failing(f"Trustpilot answered {reply.status}", told=told)
