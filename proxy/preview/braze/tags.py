"""The tags Braze adds to Liquid.

What they fetch from Braze, a preview has only where the profile's ``namespaces`` bring it, under the tag's name; else
a placeholder says what Braze would put there.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NoReturn, TextIO

from liquid import BoundTemplate, Environment, RenderContext, Tag, TokenStream
from liquid.ast import BlockNode, Node
from liquid.builtin.expressions import Identifier
from liquid.exceptions import LiquidError, LiquidSyntaxError
from liquid.parser import get_parser
from liquid.token import TOKEN_EXPRESSION, TOKEN_TAG, Token

from proxy.preview.braze import rules
from proxy.preview.braze.bounds import line_of
from proxy.preview.braze.call import Call, CallRequest, CallSyntaxError, Written, parse_call
from proxy.preview.braze.context import BrazeContext, braze
from proxy.preview.braze.markup import NeverClosedError, word_end
from proxy.preview.braze.mistakes import Mistake, MistakeKind
from proxy.preview.braze.objects import Placeholder, unmarked
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


# What Braze writes to its Message Activity Log when no reason is given.
NO_REASON = "{% abort_message %} called"

_REASON = re.compile(r"""\(\s*(?:(?P<quote>['"])(?P<reason>.*?)(?P=quote))?\s*\)""", re.DOTALL)
# Braze: Using catalogs, "Using Liquid if statements", has a reason without quotes.
_BARE_REASON = re.compile(r"""\(\s*(?P<reason>[^\s'"{}()][^'"{}()]*?)\s*\)""")
_SNIPPET = re.compile(r"""\s*(?P<quote>['"])(?P<snippet>[^'"]+)(?P=quote)\s*(?:,|with\b|for\b|$)""")


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
        token, written = _written(stream)
        if written is None:
            return AbortNode(token, NO_REASON)
        match = _REASON.fullmatch(written.value) or _BARE_REASON.fullmatch(written.value)
        if match is None or "{{" in (match["reason"] or ""):
            raise LiquidSyntaxError(
                "abort_message takes a reason in quotes, without Liquid: {% abort_message('no reviews') %}",
                token=written,
            )
        return AbortNode(token, match["reason"] or NO_REASON)


class PromotionNode(Node):
    """Puts a code of a list there (Braze: Promotion codes)."""

    __slots__ = ("list_name",)

    def __init__(self, token: Token, list_name: str) -> None:
        super().__init__(token)
        self.list_name = list_name
        self.blank = False

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write the code, or what stands for it."""
        code = braze(context).samples.get("promotion", {}).get(self.list_name)
        return buffer.write(str(code) if code else Placeholder(f"a code of the promotion list {self.list_name}"))


class PromotionTag(Tag):
    """Reads ``promotion('spring25')``."""

    name = "promotion"
    block = False

    def parse(self, stream: TokenStream) -> PromotionNode:
        """Read the name of the list."""
        token, written = _written(stream)
        match = _REASON.fullmatch(written.value) if written else None
        if match is None or not match["reason"]:
            raise LiquidSyntaxError(
                "promotion takes the name of a list in quotes: {% promotion('spring25') %}", token=written or token
            )
        return PromotionNode(token, match["reason"])


class RenderNode(Node):
    """Stands for a snippet, which only Braze has (Braze: Supported personalization tags, "Theme tags")."""

    __slots__ = ("snippet",)

    def __init__(self, token: Token, snippet: str) -> None:
        super().__init__(token)
        self.snippet = snippet
        self.blank = False

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write what stands for the snippet."""
        return buffer.write(Placeholder(f"the snippet {self.snippet}"))


class RenderTag(Tag):
    """Reads ``render 'name'``; what is handed to the snippet is not looked at."""

    name = "render"
    block = False

    def parse(self, stream: TokenStream) -> RenderNode:
        """Read the name of the snippet."""
        token, written = _written(stream)
        match = _SNIPPET.match(written.value) if written else None
        if match is None:
            raise LiquidSyntaxError(
                "render takes the name of a snippet in quotes: {% render 'footer' %}", token=written or token
            )
        return RenderNode(token, match["snippet"])


class WordsNode(Node):
    """A tag made of words and options, each of which may hold Liquid."""

    __slots__ = ("words",)

    def __init__(self, token: Token, words: list[Fragment]) -> None:
        super().__init__(token)
        self.words = words
        # A block that holds only this tag must still be rendered.
        self.blank = False

    def children(self, static_context: RenderContext, *, include_partials: bool = True) -> Iterable[Node]:
        """Return the outputs inside the tag, for the library's analysis of variables."""
        return [node for word in self.words for node in word.template.nodes]

    def written(self, context: RenderContext) -> list[str]:
        """Return the words with their Liquid rendered, without the options at the end."""
        words = [word.rendered(context) for word in self.words]
        end = next((at for at, word in enumerate(self.words) if word.written.startswith(":")), len(words))
        return words[:end]

    def has(self, option: str) -> bool:
        """Tell whether an option is given."""
        return any(word.written == option for word in self.words)


class CatalogItemsNode(WordsNode):
    """Fills ``items`` with the items named (Braze: Using catalogs)."""

    def template_scope(self) -> Iterable[Identifier]:
        """Return the variable this tag sets, for the library's analysis of variables."""
        return [Identifier("items", token=self.token)]

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Set ``items``: without an item where Braze knows the catalog and not the id, or the id came out empty."""
        own = braze(context)
        name, *keys = self.written(own) or [""]
        catalog = own.samples.get("catalog_items", {}).get(name)
        if isinstance(catalog, Mapping):
            items = [catalog[key] for key in keys if key in catalog]
        else:
            items = [Placeholder(f"item {key} of the catalog {name}") for key in keys if key]
        own.assign("items", _items(own, self, items))
        return 0


class CatalogSelectionItemsNode(WordsNode):
    """Fills ``items`` with what a selection finds (Braze: Selections)."""

    def template_scope(self) -> Iterable[Identifier]:
        """Return the variable this tag sets, for the library's analysis of variables."""
        return [Identifier("items", token=self.token)]

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Set ``items``."""
        own = braze(context)
        name, selection, *_ = [*self.written(own), "", ""]
        selections = own.samples.get("catalog_selection_items", {}).get(name)
        found = selections.get(selection) if isinstance(selections, Mapping) else None
        what = f"the selection {selection} of the catalog {name}"
        items = found if isinstance(found, list) else [Placeholder(f"item 1 of {what}")]
        own.assign("items", _items(own, self, items))
        return 0


def _items(context: BrazeContext, tag: WordsNode, items: list[object]) -> list[object]:
    if not tag.has(":rerender"):
        return items

    def rendered(item: object) -> object:
        if not isinstance(item, Mapping):
            return item
        return {
            key: rerendered(context, tag.token, value) if isinstance(value, str) else value
            for key, value in item.items()
        }

    return [rendered(item) for item in items]


class ShoppingCartNode(WordsNode):
    """Fills ``shopping_cart`` with a person's cart (Braze: eCommerce use cases, "Abandoned cart")."""

    def template_scope(self) -> Iterable[Identifier]:
        """Return the variable this tag sets, for the library's analysis of variables."""
        return [Identifier("shopping_cart", token=self.token)]

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Set ``shopping_cart``: the sample is one cart, or several by their ids."""
        own = braze(context)
        carts = own.samples.get("shopping_cart", {})
        cart_id = next(iter(self.written(own)), "")
        cart = carts if "products" in carts else carts.get(cart_id)
        own.assign("shopping_cart", cart or Placeholder("the person's shopping cart"))
        return 0


class MessageExtrasNode(WordsNode):
    """Adds a key and a value to Braze's own records; the message has nothing of it (Braze: Message extras tag)."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write nothing, and tell of what Braze might leave out."""
        words = [word.rendered(context) for word in self.words]
        if len(words) < 4 or words[0] != ":key" or words.index(":value" if ":value" in words else words[-1]) != 2:
            line = line_of(self.token.source, self.token.start_index)
            message = (
                "Braze may leave out message_extras that is not written as :key name :value text, in this order."
            )
            braze(context).mistakes.append(Mistake(MistakeKind.MESSAGE_EXTRAS, line, message))
        return 0


class WordsTag(Tag):
    """Reads a tag made of words and options."""

    block = False
    node: type[WordsNode]
    example: str

    def parse(self, stream: TokenStream) -> WordsNode:
        """Read the words."""
        token, written = _written(stream)
        words = _words(self.env, written) if written else []
        if not words:
            raise LiquidSyntaxError(f"{self.name} is written like {self.example}", token=written or token)
        return self.node(token, words)


class CatalogItemsTag(WordsTag):
    """Reads ``catalog_items Games 1234 {{wishlist[0]}} :rerender``."""

    name = "catalog_items"
    node = CatalogItemsNode
    example = "{% catalog_items Games 1234 %}"


class CatalogSelectionItemsTag(WordsTag):
    """Reads ``catalog_selection_items Games cheap_games``."""

    name = "catalog_selection_items"
    node = CatalogSelectionItemsNode
    example = "{% catalog_selection_items Games cheap_games %}"


class ShoppingCartTag(WordsTag):
    """Reads ``shopping_cart {{context.${cart_id}}} :abort_if_not_abandoned false``."""

    name = "shopping_cart"
    node = ShoppingCartNode
    example = "{% shopping_cart {{context.${cart_id}}} %}"


class MessageExtrasTag(WordsTag):
    """Reads ``message_extras :key test :value 123``."""

    name = "message_extras"
    node = MessageExtrasNode
    example = "{% message_extras :key test :value 123 %}"


class TranslationNode(Node):
    """A text that Braze may have in other languages; a preview shows it as written (Braze: Translation tags)."""

    __slots__ = ("text",)

    def __init__(self, token: Token, text: BlockNode) -> None:
        super().__init__(token)
        self.text = text
        self.blank = text.blank

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write the text."""
        return self.text.render(context, buffer)

    def children(self, static_context: RenderContext, *, include_partials: bool = True) -> Iterable[Node]:
        """Return the text, for the library's analysis of variables."""
        return [self.text]


class TranslationTag(Tag):
    """Reads ``translation greeting`` up to ``endtranslation``."""

    name = "translation"
    end = "endtranslation"

    def parse(self, stream: TokenStream) -> TranslationNode:
        """Read the text; the name is of no account here."""
        token, _ = _written(stream)
        next(stream)
        text = get_parser(self.env).parse_block(stream, frozenset({self.end}))
        stream.expect(TOKEN_TAG, value=self.end)
        return TranslationNode(token, text)


def _written(stream: TokenStream) -> tuple[Token, Token | None]:
    """Return a tag's own token and what is written behind its name; the stream is left at the last of the two."""
    token = stream.expect(TOKEN_TAG) or stream.current
    if stream.peek.kind != TOKEN_EXPRESSION:
        return token, None
    next(stream)
    return token, stream.current


def _words(environment: Environment, written: Token) -> list[Fragment]:
    words = []
    at = 0
    try:
        while at < len(written.value):
            if written.value[at].isspace():
                at += 1
                continue
            end = word_end(written.value, at)
            words.append(Fragment(environment, Written(written.value[at:end], at), written))
            at = end
    except NeverClosedError as err:
        raise LiquidSyntaxError(str(err), token=written) from err
    return words


TAGS = (
    AbortTag,
    CatalogItemsTag,
    CatalogSelectionItemsTag,
    MessageExtrasTag,
    PromotionTag,
    RenderTag,
    ShoppingCartTag,
    TranslationTag,
)
