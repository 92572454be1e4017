"""The ``abort_message`` tag (Braze: Abort messages; Abort Connected Content)."""

import re
from typing import NoReturn, TextIO

from liquid import Tag, TokenStream
from liquid.ast import Node
from liquid.context import RenderContext
from liquid.exceptions import LiquidSyntaxError
from liquid.token import TOKEN_EXPRESSION, TOKEN_TAG, Token

# What Braze writes to its Message Activity Log when no reason is given.
NO_REASON = "{% abort_message %} called"

_REASON = re.compile(r"""\(\s*(?:(?P<quote>['"])(?P<reason>.*?)(?P=quote))?\s*\)""", re.DOTALL)


class MessageAbortedError(Exception):
    """The template has decided that this message is not sent. Not a mistake: an outcome."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AbortNode(Node):
    """Stops the message when it is reached."""

    __slots__ = ("reason",)

    def __init__(self, token: Token, reason: str) -> None:
        super().__init__(token)
        self.reason = reason
        # A block that holds only this tag must still be rendered.
        self.blank = False

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> NoReturn:
        """Stop here."""
        raise MessageAbortedError(self.reason)


class AbortTag(Tag):
    """Reads ``abort_message('reason')`` and ``abort_message()``."""

    name = "abort_message"
    block = False

    def parse(self, stream: TokenStream) -> AbortNode:
        """Read the reason; Braze takes quoted text only, and no Liquid in it."""
        token = stream.expect(TOKEN_TAG)
        if stream.peek.kind != TOKEN_EXPRESSION:
            return AbortNode(token, NO_REASON)
        next(stream)
        written = stream.current
        match = _REASON.fullmatch(written.value)
        if match is None or "{{" in (match["reason"] or ""):
            raise LiquidSyntaxError(
                "abort_message takes a reason in quotes, without Liquid: {% abort_message('no reviews') %}",
                token=written,
            )
        return AbortNode(token, match["reason"] or NO_REASON)
