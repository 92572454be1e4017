"""The ``connected_content`` tag: reading it, and making its call when the message reaches it."""

import json
from collections.abc import Iterable
from typing import TextIO

from liquid import BoundTemplate, Environment, RenderContext, Tag, TokenStream
from liquid.ast import Node
from liquid.builtin.expressions import Identifier
from liquid.exceptions import LiquidError, LiquidSyntaxError
from liquid.token import TOKEN_EXPRESSION, Token

from proxy.preview.braze import rules
from proxy.preview.braze.call import Call, CallSyntaxError, Written, parse_call
from proxy.preview.braze.context import BrazeContext
from proxy.preview.braze.errors import line_of
from proxy.preview.braze.outgoing import Asked
from proxy.preview.braze.verdict import DEFAULT_VARIABLE


class Fragment:
    """A piece of the tag that may hold Liquid: a small template that knows its place in the large one."""

    def __init__(self, environment: Environment, written: Written, tag: Token) -> None:
        self.written = written.text
        self.token = Token(TOKEN_EXPRESSION, written.text, tag.start_index + written.position, tag.source)
        try:
            self.template: BoundTemplate = environment.from_string(written.text)
        except LiquidError as err:
            raise self._moved(err) from err

    def rendered(self, context: RenderContext) -> str:
        """Return the text with its variables filled in, without white space around it."""
        buffer = context.get_buffer()
        try:
            self.template.render_with_context(context, buffer, partial=True)
        except LiquidError as err:
            raise self._moved(err) from err
        return buffer.getvalue().strip()

    def error(self, message: str) -> LiquidError:
        """Return an error that points at this piece."""
        return LiquidSyntaxError(message, token=self.token)

    def _moved(self, error: LiquidError) -> LiquidError:
        within = error.token.start_index if error.token is not None else 0
        place = self.token._replace(start_index=self.token.start_index + max(within, 0))
        return type(error)(error.message, token=place)


class ConnectedContentNode(Node):
    """One tag of a parsed template."""

    __slots__ = (
        "auth_credentials",
        "basic_auth",
        "body",
        "cache_max_age",
        "call",
        "content_type",
        "headers",
        "line",
        "method",
        "url",
    )

    def __init__(self, token: Token, call: Call, written: Token, environment: Environment) -> None:
        super().__init__(token)
        # The answer may be inserted here, so a block that holds only this tag must still be rendered.
        self.blank = False
        self.call = call
        self.line = line_of(token.source, token.start_index)

        def fragment(piece: Written | None) -> Fragment | None:
            return None if piece is None else Fragment(environment, piece, written)

        self.url = Fragment(environment, call.url, written)
        self.method = fragment(call.method)
        self.headers = fragment(call.headers)
        self.body = fragment(call.body)
        self.content_type = fragment(call.content_type)
        self.basic_auth = fragment(call.basic_auth)
        self.auth_credentials = fragment(call.auth_credentials)
        self.cache_max_age = fragment(call.cache_max_age)

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Make the call; put the answer into its variable, or plain text in place."""
        if not isinstance(context, BrazeContext):
            raise TypeError("connected_content is rendered through proxy.preview.braze.rendering only")
        verdict = context.exchange.call(self._asked(context))
        context.assign(self.call.save or DEFAULT_VARIABLE, verdict.value)
        return buffer.write(verdict.text)

    def children(self, static_context: RenderContext, *, include_partials: bool = True) -> Iterable[Node]:
        """Return the outputs inside the tag, for the library's analysis of variables."""
        fragments = (self.url, self.method, self.headers, self.body, self.content_type)
        return [node for fragment in fragments if fragment for node in fragment.template.nodes]

    def template_scope(self) -> Iterable[Identifier]:
        """Return the variable this tag sets, for the library's analysis of variables."""
        return [Identifier(self.call.save, token=self.token)] if self.call.save else []

    def _asked(self, context: RenderContext) -> Asked:
        def rendered(fragment: Fragment | None) -> str | None:
            return None if fragment is None else fragment.rendered(context)

        return Asked(
            line=self.line,
            written_url=self.url.written,
            url=self.url.rendered(context),
            method=self._method(context),
            headers=self._headers(context),
            body=rendered(self.body),
            content_type=rendered(self.content_type),
            basic_auth=rendered(self.basic_auth),
            auth_credentials=rendered(self.auth_credentials),
            save=self.call.save,
            cache_max_age=self._cache_max_age(context),
            retry=self.call.retry,
            no_cache=self.call.no_cache,
        )

    def _method(self, context: RenderContext) -> str:
        if self.method is None:
            return "GET"
        method = self.method.rendered(context).upper()
        if method not in rules.METHODS:
            raise self.method.error(f":method is get or post, found {method.lower() or 'nothing'}")
        return method

    def _headers(self, context: RenderContext) -> dict[str, str]:
        if self.headers is None:
            return {}
        text = self.headers.rendered(context)
        try:
            # Not strict: a value may be spread over lines in the template.
            headers = json.loads(text, strict=False)
        except (ValueError, RecursionError) as err:
            raise self.headers.error(":headers is not JSON once its Liquid is rendered") from err
        if not isinstance(headers, dict):
            raise self.headers.error(":headers must be a JSON object")
        for name, value in headers.items():
            if not isinstance(value, (str, int, float)):
                raise self.headers.error(f"the header {name} must be text")
        return {name.strip(): str(value).strip() for name, value in headers.items()}

    def _cache_max_age(self, context: RenderContext) -> int | None:
        if self.cache_max_age is None:
            return None
        seconds = self.cache_max_age.rendered(context)
        # Nine digits are 31 years; more would only be a way to make a number that is slow to read.
        if not (seconds.isascii() and seconds.isdecimal() and len(seconds) <= 9):
            raise self.cache_max_age.error(f":cache_max_age is a number of seconds, found {seconds or 'none'}")
        return int(seconds)


class ConnectedContentTag(Tag):
    """Reads ``{% connected_content … %}``."""

    name = "connected_content"
    block = False

    def parse(self, stream: TokenStream) -> ConnectedContentNode:
        """Read the tag, and every piece of Liquid in it."""
        token = stream.current
        if stream.peek.kind != TOKEN_EXPRESSION:
            raise LiquidSyntaxError("connected_content needs a URL", token=token)
        next(stream)
        written = stream.current
        try:
            call = parse_call(written.value)
        except CallSyntaxError as err:
            place = written._replace(start_index=written.start_index + err.position)
            raise LiquidSyntaxError(str(err), token=place) from err
        return ConnectedContentNode(token, call, written, self.env)
