"""Braze's side of the wire, as its documentation describes it.

A template is rendered the way Braze renders a message: its Liquid with ``${attributes}``, its
``connected_content`` and ``abort_message`` tags, and the rules it applies to each call. The room talks to no network
and no clock of its own: a `Transport`, a clock and a sleep are passed in, so that a preview, a terminal and a test
can each bring theirs. What others need of the room is named here; the modules behind it are its own affair.
"""

from proxy.preview.braze.empties import Empty
from proxy.preview.braze.exchange import CallRecord, Mistake, MistakeKind
from proxy.preview.braze.filters import FILTERS
from proxy.preview.braze.markup import FLAGS as CALL_FLAGS
from proxy.preview.braze.markup import OPTIONS as CALL_OPTIONS
from proxy.preview.braze.markup import WORDS as CALL_WORDS
from proxy.preview.braze.markup import TemplateBoundError, TemplateError, is_boundless, line_of
from proxy.preview.braze.rendering import Profile, Rendering, parse, render
from proxy.preview.braze.wire import (
    BasicCredential,
    BodyTooLargeError,
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
)

__all__ = [
    "CALL_FLAGS",
    "CALL_OPTIONS",
    "CALL_WORDS",
    "FILTERS",
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
    "line_of",
    "parse",
    "render",
]
