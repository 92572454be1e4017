"""The ``connected_content`` tag, and the pieces with Liquid in them that Braze's tags are made of."""

import json
import re
from collections.abc import Iterable
from functools import partial
from typing import TextIO

from liquid import BoundTemplate, Environment, RenderContext, Tag, TokenStream
from liquid.ast import Node
from liquid.builtin.expressions import Identifier
from liquid.exceptions import LiquidError, LiquidSyntaxError
from liquid.token import TOKEN_EXPRESSION, Token

from proxy.preview.braze import rules
from proxy.preview.braze.bounds import line_of
from proxy.preview.braze.call import Call, CallRequest, CallSyntaxError, Written, parse_call
from proxy.preview.braze.context import BrazeContext, braze
from proxy.preview.braze.objects import unmarked
from proxy.preview.braze.rules import DEFAULT_VARIABLE


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
        empties = braze(context).empties
        origin = empties.origin
        empties.origin = origin if empties.is_foreign else self.token
        try:
            self.template.render_with_context(context, buffer, partial=True)
        except LiquidError as err:
            raise self._moved(err) from err
        finally:
            empties.origin = origin
        return unmarked(buffer.getvalue().strip())

    def _moved(self, error: LiquidError) -> LiquidError:
        within = error.token.start_index if error.token is not None else 0
        position = self.token._replace(start_index=self.token.start_index + max(within, 0))
        return type(error)(error.message, token=position)


# What is not rendered inside an answer that is rendered again (Braze: Pull user profile data).
_ONCE_ONLY = re.compile(r"\{%-?\s*(?:connected_content|catalog_items|catalog_selection_items)\b.*?%\}", re.DOTALL)
_NAME = re.compile(r"\$\{([^{}]*)\}")


def rerendered(context: BrazeContext, tag: Token, text: str) -> str:
    """Return an answer's, or a catalog item's, text with its Liquid rendered, as ``:rerender`` asks for.

    One level deep: calls and catalogs in it stay as they are. Only what the message itself reads behind a ``${`` is
    there to be read (Braze: Pull user profile data in Connected Content calls; Using catalogs).
    """
    before, context.only = context.only, frozenset(map(str.strip, _NAME.findall(tag.source)))
    try:
        whole = _ONCE_ONLY.sub(lambda found: f"{{% raw %}}{found[0]}{{% endraw %}}", text)
        return context.rendered(whole, "the answer, which :rerender renders", tag)
    finally:
        context.only = before


class ConnectedContentNode(Node):
    """One tag of a parsed template."""

    __slots__ = ("call", "line", "options", "url")

    def __init__(self, token: Token, call: Call, written: Token, environment: Environment) -> None:
        super().__init__(token)
        # The answer may be inserted here, so a block that holds only this tag must still be rendered.
        self.blank = False
        self.call = call
        self.line = line_of(token.source, token.start_index)
        self.url = Fragment(environment, call.url, written)
        self.options = {name: Fragment(environment, piece, written) for name, piece in call.options.items()}

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Make the call; put the answer into its variable, or plain text in place."""
        verdict = braze(context).exchange.call(self._asked(braze(context)))
        context.assign(self.call.save or DEFAULT_VARIABLE, verdict.value)
        return buffer.write(verdict.text)

    def children(self, static_context: RenderContext, *, include_partials: bool = True) -> Iterable[Node]:
        """Return the outputs inside the tag, for the library's analysis of variables."""
        return [node for fragment in (self.url, *self.options.values()) for node in fragment.template.nodes]

    def template_scope(self) -> Iterable[Identifier]:
        """Return the variable this tag sets, for the library's analysis of variables."""
        return [Identifier(self.call.save, token=self.token)] if self.call.save else []

    def _asked(self, context: BrazeContext) -> CallRequest:
        def rendered(option: str) -> str | None:
            fragment = self.options.get(option)
            return None if fragment is None else fragment.rendered(context)

        return CallRequest(
            line=self.line,
            written_url=self.url.written,
            url=self.url.rendered(context),
            method=self._method(rendered("method")),
            headers=self._headers(rendered("headers")),
            body=rendered("body"),
            content_type=rendered("content_type"),
            basic_auth=rendered("basic_auth"),
            auth_credentials=rendered("auth_credentials"),
            save=self.call.save,
            cache_max_age=self._cache_max_age(rendered("cache_max_age")),
            retry="retry" in self.call.flags,
            no_cache="no_cache" in self.call.flags,
            accept=rendered("accept"),
            rerender=partial(rerendered, context, self.token) if "rerender" in self.call.flags else None,
        )

    def _method(self, written: str | None) -> str:
        if written is None:
            return "GET"
        if written.upper() not in rules.METHODS:
            raise self._error("method", f":method is get or post, found {written.lower() or 'nothing'}")
        return written.upper()

    def _headers(self, written: str | None) -> dict[str, str]:
        if written is None:
            return {}
        try:
            # Not strict: a value may be spread over lines in the template.
            headers = json.loads(written, strict=False)
        except (ValueError, RecursionError) as err:
            raise self._error("headers", ":headers is not JSON once its Liquid is rendered") from err
        if not isinstance(headers, dict):
            raise self._error("headers", ":headers must be a JSON object")
        for name, value in headers.items():
            if not isinstance(value, (str, int, float)):
                raise self._error("headers", f"the header {name} must be text")
        return {name.strip(): str(value).strip() for name, value in headers.items()}

    def _cache_max_age(self, written: str | None) -> int | None:
        if written is None:
            return rules.CACHE_DEFAULT_SECONDS if "cache_max_age" in self.call.flags else None
        # Nine digits are 31 years; more would only be a way to make a number that is slow to read.
        if not (written.isascii() and written.isdecimal() and len(written) <= 9):
            raise self._error("cache_max_age", f":cache_max_age is a number of seconds, found {written or 'none'}")
        return int(written)

    def _error(self, option: str, message: str) -> LiquidError:
        return LiquidSyntaxError(message, token=self.options[option].token)


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
            position = written._replace(start_index=written.start_index + err.position)
            raise LiquidSyntaxError(str(err), token=position) from err
        return ConnectedContentNode(token, call, written, self.env)
