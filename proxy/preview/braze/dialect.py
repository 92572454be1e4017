"""Liquid as Braze runs it: python-liquid's parser, with Ruby's way of printing, comparing, looking up and looping."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from io import StringIO
from typing import Protocol, TextIO

from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import BlockNode, ConditionalBlockNode, Node
from liquid.builtin.expressions import BooleanExpression, LoopExpression, StringLiteral
from liquid.builtin.expressions.logical import (
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.case_tag import CaseNode, MultiExpressionBlockNode, _AnyExpression
from liquid.builtin.tags.echo_tag import EchoNode
from liquid.builtin.tags.for_tag import ForNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.tablerow_tag import TablerowNode
from liquid.builtin.tags.unless_tag import UnlessNode
from liquid.exceptions import LiquidTypeError, UnknownFilterError
from liquid.expression import Expression
from liquid.output import LimitedStringIO
from liquid.token import TOKEN_OUTPUT, Token
from liquid.utils import ReadOnlyChainMap

from proxy.preview.braze import ruby, rules
from proxy.preview.braze.bounds import BoundReachedError, Budget
from proxy.preview.braze.call import Asked
from proxy.preview.braze.dates import Now
from proxy.preview.braze.filters import filters
from proxy.preview.braze.rules import Verdict

_OPERATORS: Mapping[type[Expression], str] = {
    EqExpression: "==",
    NeExpression: "!=",
    LtExpression: "<",
    LeExpression: "<=",
    GtExpression: ">",
    GeExpression: ">=",
    ContainsExpression: "contains",
}


class Calls(Protocol):
    """Makes the calls of a rendering."""

    def call(self, asked: Asked) -> Verdict:
        """Make one call and return what becomes of its answer."""
        ...


class BrazeContext(RenderContext):
    """A render context that counts what is used, and knows where calls are made and what time it is."""

    __slots__ = ("_filters", "budget", "exchange", "now")

    def __init__(self, template: BoundTemplate, variables: Mapping[str, object], exchange: Calls, now: Now) -> None:
        super().__init__(template, globals=variables)
        # python-liquid's variables `now` and `today` are none of Ruby's, which knows 'now' in quotes only.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self.budget = Budget()
        self.exchange = exchange
        self.now: Callable[[], datetime] = now
        self._filters = filters(now)

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the turns of a loop that is about to start, on top of all loops before it."""
        self.budget.spend_iterations(length)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """Return a filter that measures what it is given first."""
        function = self._filters.get(name)
        if function is None:
            raise UnknownFilterError(f"unknown filter '{name}'", token=token)
        return self.budget.guarded(name, function, token)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        """Return a buffer of limited size; python-liquid's changes how lines end."""
        carry = buf.size if isinstance(buf, LimitedStringIO) else 0
        return LimitedStringIO(limit=rules.OUTPUT_BYTES - carry, newline="")

    def get_item(self, obj: object, key: object) -> object:
        """Return ``obj.key`` or ``obj[key]``; python-liquid gives numbers no size, objects another first."""
        key = ruby.plain(key)
        if isinstance(obj, Mapping) and isinstance(key, str) and key in obj:
            return obj[key]
        if isinstance(obj, list) and isinstance(key, int) and not isinstance(key, bool):
            return obj[key]
        match key:
            case "size" if (size := ruby.size(obj)) is not None:
                return size
            case "first" | "last" if isinstance(obj, (list, range, Mapping)):
                return self._filters[key](obj)
            case _:
                raise KeyError(key)


class Comparison(Expression):
    """Two values and an operator, compared as Ruby does."""

    __slots__ = ("left", "operator", "right")

    def __init__(self, token: Token, left: Expression, operator: str, right: Expression) -> None:
        super().__init__(token)
        self.left = left
        self.operator = operator
        self.right = right

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"

    def evaluate(self, context: RenderContext) -> bool:
        """Compare; text with a number is an error of the template."""
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        try:
            match self.operator:
                case "==" | "!=":
                    return ruby.equal(left, right) is (self.operator == "==")
                case "contains":
                    return ruby.contains(left, right)
                case _:
                    return ruby.ordered(left, self.operator, right)
        except LiquidTypeError as err:
            raise LiquidTypeError(err.message, token=self.token) from err

    def children(self) -> list[Expression]:
        """Return the values compared, for the library's analysis of variables."""
        return [self.left, self.right]


def compared(expression: Expression) -> Expression:
    """Return a condition of the library's with its comparisons made Ruby's."""
    match expression:
        case BooleanExpression():
            return BooleanExpression(expression.token, compared(expression.expression))
        case LogicalAndExpression() | LogicalOrExpression():
            return type(expression)(expression.token, compared(expression.left), compared(expression.right))
        case _ if (operator := _OPERATORS.get(type(expression))) is not None:
            left, right = expression.children()
            return Comparison(expression.token, left, operator, right)
        case _:
            return expression


class BrazeOutputNode(OutputNode):
    """``{{ … }}``, printed as Ruby prints."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write the value's text."""
        return buffer.write(ruby.output(self.expression.evaluate(context)))


class BrazeEchoNode(EchoNode, BrazeOutputNode):
    """``{% echo … %}``, printed as Ruby prints."""


class BrazeIfNode(IfNode):
    """``{% if … %}`` with Ruby's comparisons."""

    def __init__(
        self,
        token: Token,
        condition: Expression,
        consequence: BlockNode,
        alternatives: list[ConditionalBlockNode],
        default: BlockNode | None,
    ) -> None:
        super().__init__(token, compared(condition), consequence, alternatives, default)
        for alternative in alternatives:
            alternative.expression = compared(alternative.expression)


class BrazeUnlessNode(UnlessNode):
    """``{% unless … %}`` with Ruby's comparisons."""

    def __init__(
        self,
        token: Token,
        condition: Expression,
        consequence: BlockNode,
        alternatives: list[ConditionalBlockNode] | None = None,
        default: BlockNode | None = None,
    ) -> None:
        super().__init__(token, compared(condition), consequence, alternatives, default)
        for alternative in alternatives or []:
            alternative.expression = compared(alternative.expression)


class BrazeCaseNode(CaseNode):
    """``{% case … %}`` with Ruby's equality."""

    def __init__(
        self, token: Token, expression: Expression, blocks: list[MultiExpressionBlockNode | BlockNode]
    ) -> None:
        super().__init__(token, expression, blocks)
        for block in self.blocks:
            if isinstance(block, MultiExpressionBlockNode):
                block.expression = AnyOf(block.expression.token, expression, block.expression.expressions)


class AnyOf(_AnyExpression):
    """The values of one ``{% when … %}``."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> list[bool]:
        """Return for each value whether it is the one."""
        left = self.left.evaluate(context)
        return [ruby.equal(left, right.evaluate(context)) for right in self.expressions]


class BrazeLoopExpression(LoopExpression):
    """What a ``{% for … %}`` or ``{% tablerow … %}`` goes over."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> tuple[Iterator[object], int]:
        """Return the items and how many; an object gives pairs, a limit below zero gives none."""
        every = _looped(self.iterable.evaluate(context))
        key = f"{self.identifier}-{self.iterable}"
        if isinstance(self.offset, StringLiteral) and self.offset.value == "continue":
            start = context.stopindex(key)
        else:
            start = self._number(self.offset, context) or 0
        limit = self._number(self.limit, context)
        chosen = every[max(start, 0) :] if limit is None else every[max(start, 0) : max(start + limit, 0)]
        context.stopindex(key=key, index=start + len(chosen))
        return iter(reversed(chosen) if self.reversed else chosen), len(chosen)

    def _number(self, expression: Expression | None, context: RenderContext) -> int | None:
        value = ruby.plain(expression.evaluate(context)) if expression else None
        if value is None or expression is None:
            return None
        try:
            return ruby.integer(value)
        except ValueError:
            message = f"limit and offset are whole numbers, found {ruby.text(value) or 'nothing'}"
            raise LiquidTypeError(message, token=expression.token) from None


def _looped(value: object) -> list[object] | range:
    match ruby.plain(value):
        case list() as items:
            return items
        case range() as items:
            if items.stop - items.start > rules.LOOP_ITERATIONS:
                raise BoundReachedError(f"more than {rules.LOOP_ITERATIONS} turns of loops", token=None)
            return items
        case Mapping() as pairs:
            return [list(pair) for pair in pairs.items()]
        case str() as whole if whole:
            return [whole]
        case _:
            return []


class BrazeForNode(ForNode):
    """``{% for … %}`` over what Ruby loops over."""

    def __init__(
        self, token: Token, expression: LoopExpression, block: BlockNode, default: BlockNode | None = None
    ) -> None:
        super().__init__(token, _loop(expression), block, default)


def _loop(loop: LoopExpression) -> BrazeLoopExpression:
    return BrazeLoopExpression(
        loop.token,
        loop.identifier,
        loop.iterable,
        limit=loop.limit,
        offset=loop.offset,
        reversed_=loop.reversed,
        cols=loop.cols,
    )


class BrazeTablerowNode(TablerowNode):
    """``{% tablerow … %}`` over what Ruby loops over."""

    def __init__(self, token: Token, expression: LoopExpression, block: BlockNode) -> None:
        super().__init__(token, _loop(expression), block)


_NODES: Mapping[str, type[Node]] = {
    TOKEN_OUTPUT: BrazeOutputNode,
    "echo": BrazeEchoNode,
    "if": BrazeIfNode,
    "unless": BrazeUnlessNode,
    "case": BrazeCaseNode,
    "for": BrazeForNode,
    "tablerow": BrazeTablerowNode,
}


def register(environment: Environment) -> None:
    """Have an environment's tags make these nodes; its filters come with the context."""
    for name, node in _NODES.items():
        environment.tags[name].node_class = node  # type: ignore[attr-defined]  # these tags have one
