"""The tags Braze adds to Liquid.

What they fetch from Braze, a preview has only where the profile's ``namespaces`` bring it, under the tag's name; else
a placeholder says what Braze would put there.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TextIO

from liquid import BoundTemplate, Environment, RenderContext, Tag, TokenStream
from liquid.ast import Node
from liquid.builtin.expressions import Identifier
from liquid.exceptions import LiquidError, LiquidSyntaxError
from liquid.parser import get_parser
from liquid.token import TOKEN_EXPRESSION, TOKEN_TAG, Token

from proxy.preview.braze.dialect import BrazeContext, braze
from proxy.preview.braze.empties import Placeholder, displayed
from proxy.preview.braze.exchange import Mistake, MistakeKind
from proxy.preview.braze.markup import CallSyntaxError, NeverClosedError, Written, line_of, parse_call, word_end
from proxy.preview.braze.wire import CACHE_DEFAULT_SECONDS, DEFAULT_VARIABLE, CallRequest


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
        return displayed(buffer.getvalue().strip(), is_html=False)

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


class BrazeNode(Node):
    """What stands behind the name of one of Braze's tags: a text, or pieces that may hold Liquid.

    ``flags`` are the options without a value; ``sets`` is the variable that is filled, if any.
    """

    __slots__ = ("flags", "pieces", "sets", "tag", "text")

    def __init__(self, token: Token, tag: "BrazeTag") -> None:
        super().__init__(token)
        self.tag = tag
        self.sets = tag.sets
        self.text = ""
        self.pieces: Mapping[str, Fragment] = {}
        self.flags: frozenset[str] = frozenset()
        # A block that holds only this tag must still be rendered.
        self.blank = False

    def children(self, static_context: RenderContext, *, include_partials: bool = True) -> Iterable[Node]:
        return [node for piece in self.pieces.values() for node in piece.template.nodes]

    def template_scope(self) -> Iterable[Identifier]:
        return [Identifier(self.sets, token=self.token)] if self.sets else []

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return buffer.write(self.tag.rendered(self, braze(context)))

    def piece(self, name: str, context: BrazeContext) -> str | None:
        return self.pieces[name].rendered(context) if name in self.pieces else None

    def arguments(self, context: BrazeContext) -> list[str]:
        """Return the words with their Liquid rendered, without the options at the end."""
        words = [piece.rendered(context) for piece in self.pieces.values()]
        ends = (at for at, piece in enumerate(self.pieces.values()) if piece.written.startswith(":"))
        return words[: next(ends, len(words))]


class BrazeTag(Tag):
    """A tag of Braze's. ``sets`` is the variable it fills, if any; ``usage`` is said where it can't be read."""

    block = False
    sets = ""
    usage: str

    def parse(self, stream: TokenStream) -> BrazeNode:
        token, written = _written(stream)
        node = BrazeNode(token, self)
        if not self.read(node, written):
            raise LiquidSyntaxError(self.usage, token=written or token)
        return node

    def read(self, node: BrazeNode, written: Token | None) -> bool:
        """Take in what stands behind the tag's name, words unless a tag says otherwise; tell whether it could."""
        words = _words(self.env, written) if written else []
        node.pieces = {str(number): word for number, word in enumerate(words)}
        return bool(words)

    @abstractmethod
    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        """Do what the tag does, and return what stands in its place."""


class ConnectedContentTag(BrazeTag):
    """``connected_content`` makes a call; the answer goes into its variable, or as text in place."""

    name = "connected_content"
    usage = "connected_content needs a URL"

    def read(self, node: BrazeNode, written: Token | None) -> bool:
        if written is None:
            return False
        try:
            call = parse_call(written.value)
        except CallSyntaxError as err:
            position = written._replace(start_index=written.start_index + err.position)
            raise LiquidSyntaxError(str(err), token=position) from err
        pieces = {"url": call.url, **call.options}
        node.pieces = {name: Fragment(self.env, piece, written) for name, piece in pieces.items()}
        node.flags, node.sets = call.flags, call.save or ""
        return True

    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        given = partial(node.piece, context=context)
        verdict = context.call(
            CallRequest(
                line=line_of(node.token.source, node.token.start_index),
                written_url=node.pieces["url"].written,
                url=given("url") or "",
                method=self._method(node, given("method")),
                headers=self._headers(node, given("headers")),
                body=given("body"),
                content_type=given("content_type"),
                basic_auth=given("basic_auth"),
                auth_credentials=given("auth_credentials"),
                save=node.sets or None,
                cache_max_age=self._cache_max_age(node, given("cache_max_age")),
                retry="retry" in node.flags,
                no_cache="no_cache" in node.flags,
                accept=given("accept"),
                rerender=partial(rerendered, context, node.token) if "rerender" in node.flags else None,
            )
        )
        context.assign(node.sets or DEFAULT_VARIABLE, verdict.value)
        return verdict.text

    def _method(self, node: BrazeNode, written: str | None) -> str:
        method = "GET" if written is None else written.upper()
        if method not in {"GET", "POST"}:
            raise self._error(node, "method", f":method is get or post, found {method.lower() or 'nothing'}")
        return method

    def _headers(self, node: BrazeNode, written: str | None) -> dict[str, str]:
        if written is None:
            return {}
        try:
            # Not strict: a value may be spread over lines in the template.
            headers = json.loads(written, strict=False)
        except (ValueError, RecursionError) as err:
            raise self._error(node, "headers", ":headers is not JSON once its Liquid is rendered") from err
        if not isinstance(headers, dict):
            raise self._error(node, "headers", ":headers must be a JSON object")
        for name, value in headers.items():
            if not isinstance(value, (str, int, float)):
                raise self._error(node, "headers", f"the header {name} must be text")
        return {name.strip(): str(value).strip() for name, value in headers.items()}

    def _cache_max_age(self, node: BrazeNode, written: str | None) -> int | None:
        if written is None:
            return CACHE_DEFAULT_SECONDS if "cache_max_age" in node.flags else None
        # Nine digits are 31 years; more would only be a way to make a number that is slow to read.
        if not (written.isascii() and written.isdecimal() and len(written) <= 9):
            raise self._error(
                node, "cache_max_age", f":cache_max_age is a number of seconds, found {written or 'none'}"
            )
        return int(written)

    def _error(self, node: BrazeNode, option: str, message: str) -> LiquidError:
        return LiquidSyntaxError(message, token=node.pieces[option].token)


# What Braze writes to its Message Activity Log when no reason is given.
NO_REASON = "{% abort_message %} called"

_REASON = re.compile(r"""\(\s*(?:(?P<quote>['"])(?P<text>.*?)(?P=quote))?\s*\)""", re.DOTALL)
# Braze: Using catalogs, "Using Liquid if statements", has a reason without quotes.
_BARE_REASON = re.compile(r"""\(\s*(?P<text>[^\s'"{}()][^'"{}()]*?)\s*\)""")
_SNIPPET = re.compile(r"""\s*(?P<quote>['"])(?P<text>[^'"]+)(?P=quote)\s*(?:(?:,|with\b|for\b).*)?""", re.DOTALL)


class MessageAbortedError(Exception):
    """The template has decided that this message is not sent. Not a mistake: an outcome."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AbortTag(BrazeTag):
    """``abort_message('reason')`` and ``abort_message()`` stop the message when they are reached."""

    name = "abort_message"
    usage = "abort_message takes a reason in quotes, without Liquid: {% abort_message('no reviews') %}"

    def read(self, node: BrazeNode, written: Token | None) -> bool:
        match = (_REASON.fullmatch(written.value) or _BARE_REASON.fullmatch(written.value)) if written else None
        node.text = (match["text"] if match else "") or NO_REASON
        return written is None or (match is not None and "{{" not in node.text)

    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        raise MessageAbortedError(node.text)


class PromotionTag(BrazeTag):
    """``promotion('spring25')`` puts a code of a list there (Braze: Promotion codes)."""

    name = "promotion"
    usage = "promotion takes the name of a list in quotes: {% promotion('spring25') %}"

    def read(self, node: BrazeNode, written: Token | None) -> bool:
        match = _REASON.fullmatch(written.value) if written else None
        node.text = (match["text"] if match else "") or ""
        return bool(node.text)

    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        code = context.samples.get("promotion", {}).get(node.text)
        return str(code) if code else Placeholder(f"a code of the promotion list {node.text}")


class RenderTag(BrazeTag):
    """``render 'name'`` stands for a snippet, which only Braze has; what is handed to it is not looked at.

    Braze: Supported personalization tags, "Theme tags".
    """

    name = "render"
    usage = "render takes the name of a snippet in quotes: {% render 'footer' %}"

    def read(self, node: BrazeNode, written: Token | None) -> bool:
        match = _SNIPPET.fullmatch(written.value) if written else None
        node.text = match["text"] if match else ""
        return match is not None

    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        return Placeholder(f"the snippet {node.text}")


class CatalogItemsTag(BrazeTag):
    """``catalog_items Games 1234 {{wishlist[0]}} :rerender`` fills ``items`` (Braze: Using catalogs)."""

    name = "catalog_items"
    sets = "items"
    usage = "catalog_items is written like {% catalog_items Games 1234 %}"

    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        """Leave out an item where Braze knows the catalog and not the id, or the id came out empty."""
        name, *keys = node.arguments(context) or [""]
        catalog = context.samples.get("catalog_items", {}).get(name)
        if isinstance(catalog, Mapping):
            items = [catalog[key] for key in keys if key in catalog]
        else:
            items = [Placeholder(f"item {key} of the catalog {name}") for key in keys if key]
        return _fill_items(context, node, items)


class CatalogSelectionItemsTag(BrazeTag):
    """``catalog_selection_items Games cheap_games`` fills ``items`` by a selection (Braze: Selections)."""

    name = "catalog_selection_items"
    sets = "items"
    usage = "catalog_selection_items is written like {% catalog_selection_items Games cheap_games %}"

    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        name, selection, *_ = [*node.arguments(context), "", ""]
        selections = context.samples.get("catalog_selection_items", {}).get(name)
        found = selections.get(selection) if isinstance(selections, Mapping) else None
        what = f"the selection {selection} of the catalog {name}"
        return _fill_items(context, node, found if isinstance(found, list) else [Placeholder(f"item 1 of {what}")])


def _fill_items(context: BrazeContext, node: BrazeNode, items: list[object]) -> str:
    def rendered(item: object) -> object:
        if not isinstance(item, Mapping):
            return item
        texts = {key: value for key, value in item.items() if isinstance(value, str)}
        return {**item, **{key: rerendered(context, node.token, value) for key, value in texts.items()}}

    is_rerendered = any(word.written == ":rerender" for word in node.pieces.values())
    context.assign("items", list(map(rendered, items)) if is_rerendered else items)
    return ""


class ShoppingCartTag(BrazeTag):
    """``shopping_cart {{context.${cart_id}}} :abort_if_not_abandoned false`` fills ``shopping_cart``.

    The sample is one cart, or several by their ids (Braze: eCommerce use cases, "Abandoned cart").
    """

    name = "shopping_cart"
    sets = "shopping_cart"
    usage = "shopping_cart is written like {% shopping_cart {{context.${cart_id}}} %}"

    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        carts = context.samples.get("shopping_cart", {})
        cart_id = next(iter(node.arguments(context)), "")
        cart = carts if "products" in carts else carts.get(cart_id)
        context.assign("shopping_cart", cart or Placeholder("the person's shopping cart"))
        return ""


class MessageExtrasTag(BrazeTag):
    """``message_extras :key test :value 123`` adds to Braze's own records, not to the message.

    Braze: Message extras tag.
    """

    name = "message_extras"
    usage = "message_extras is written like {% message_extras :key test :value 123 %}"

    def rendered(self, node: BrazeNode, context: BrazeContext) -> str:
        words = [word.rendered(context) for word in node.pieces.values()]
        if len(words) < 4 or words[0] != ":key" or words.index(":value" if ":value" in words else words[-1]) != 2:
            line = line_of(node.token.source, node.token.start_index)
            message = (
                "Braze may leave out message_extras that is not written as :key name :value text, in this order."
            )
            context.mistakes.append(Mistake(MistakeKind.MESSAGE_EXTRAS, line, message))
        return ""


class TranslationTag(Tag):
    """Text up to ``endtranslation`` that Braze may have in other languages; here it is shown as it is written.

    The name of the text is of no account (Braze: Translation tags).
    """

    name = "translation"
    end = "endtranslation"

    def parse(self, stream: TokenStream) -> Node:
        _written(stream)
        next(stream)
        text = get_parser(self.env).parse_block(stream, frozenset({self.end}))
        stream.expect(TOKEN_TAG, value=self.end)
        return text


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


TAGS: Iterable[type[Tag]] = (*BrazeTag.__subclasses__(), TranslationTag)
