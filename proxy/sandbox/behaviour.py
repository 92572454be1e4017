"""How the stand-in has been told to answer: which way, to which calls, how often."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Kind(StrEnum):
    """The documented calls there are."""

    REVIEWS = "reviews"
    SUMMARY = "summary"
    BATCH_SUMMARIES = "batch_summaries"
    TOKEN = "token"  # noqa: S105  # a kind of call
    INVITATIONS = "invitations"


class Mode(StrEnum):
    """The ways to answer. ``proxy.sandbox.misbehaving`` says what each does on the wire."""

    OK = "ok"
    SLOW = "slow"
    FAIL = "fail"
    RATE_LIMIT = "rate_limit"
    HANG = "hang"
    DRIP = "drip"
    DRIP_HEADERS = "drip_headers"
    RESET = "reset"
    RESET_MIDWAY = "reset_midway"
    RESET_AFTER = "reset_after"
    GARBAGE = "garbage"
    HTML = "html"
    WRONG_SHAPE = "wrong_shape"
    HUGE = "huge"
    REDIRECT = "redirect"
    TRUNCATED = "truncated"


class Shape(StrEnum):
    """What ``wrong_shape`` turns a right answer into."""

    LIST = "list"
    NULL = "null"
    TEXT = "text"
    NULL_MEMBERS = "null_members"
    TEXT_MEMBERS = "text_members"
    OBJECT_MEMBERS = "object_members"
    NOT_A_NUMBER = "not_a_number"
    DEEP = "deep"


_USUAL: Mapping[Mode, Mapping[str, Any]] = {
    Mode.SLOW: {"seconds": 3.0},
    Mode.HANG: {"seconds": 60.0},
    Mode.DRIP: {"seconds": 0.05},
    Mode.DRIP_HEADERS: {"seconds": 0.05},
    Mode.FAIL: {"status": 500},
    Mode.RATE_LIMIT: {"status": 429, "retry_after": 30},
    Mode.REDIRECT: {"status": 302},
}


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """One instruction.

    ``kinds`` and ``skus`` narrow it to some calls, None meaning all; a call without a SKU (token, invitations)
    is never meant by ``skus``, and a batch is meant when one of its SKUs is. ``times`` counts down to 0, None
    meaning for ever. ``seconds`` is the delay of ``slow``, the longest ``hang``, the pause between two bytes of a
    drip. ``retry_after`` goes into the header of that name as it is.
    """

    mode: Mode
    kinds: Collection[str] | None = None
    skus: Collection[str] | None = None
    times: int | None = None
    seconds: float = 0.0
    status: int = 200
    retry_after: int | str | None = None
    shape: Shape = Shape.OBJECT_MEMBERS

    @classmethod
    def told(cls, members: Mapping[str, Any]) -> Self:
        """Return the behaviour that these members describe; ``mode`` is one of them, the others have defaults."""
        return cls(**{**_USUAL.get(members["mode"], {}), **members})

    def means(self, kind: Kind, skus: Collection[str]) -> bool:
        """Tell whether a call is to be answered this way."""
        if self.times == 0 or (self.kinds is not None and kind not in self.kinds):
            return False
        return self.skus is None or not set(self.skus).isdisjoint(skus)


class Behaviours(list[Behaviour]):
    """The instructions in force; the first that means a call answers it, and ``ok`` is what is left."""

    def take(self, kind: Kind, skus: Collection[str]) -> Behaviour:
        """Return how to answer a call, using up one of its ``times``."""
        for behaviour in self:
            if behaviour.means(kind, skus):
                if behaviour.times is not None:
                    behaviour.times -= 1
                return behaviour
        return Behaviour(mode=Mode.OK)
