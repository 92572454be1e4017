"""Liquid as Braze runs it: python-liquid's, with Ruby's way of printing, comparing, looking up and looping."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import StringIO
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, RenderContext
from liquid.ast import BlockNode, Node
from liquid.builtin.expressions import (
    BooleanExpression,
    FilteredExpression,
    LoopExpression,
    Path,
    StringLiteral,
    logical,
)
from liquid.builtin.expressions.filtered import Filter as Filtering
from liquid.builtin.expressions.primitive import Blank, Empty, Nil
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.case_tag import CaseNode, MultiExpressionBlockNode, _AnyExpression
from liquid.builtin.tags.cycle_tag import CycleNode
from liquid.builtin.tags.echo_tag import EchoNode
from liquid.builtin.tags.for_tag import ForNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.tablerow_tag import TablerowNode
from liquid.builtin.tags.unless_tag import UnlessNode
from liquid.exceptions import LiquidError, LiquidTypeError, UnknownFilterError
from liquid.expression import Expression
from liquid.output import LimitedStringIO
from liquid.token import TOKEN_OUTPUT, Token
from liquid.undefined import UNDEFINED
from liquid.utils import ReadOnlyChainMap

from proxy.preview.braze import ruby
from proxy.preview.braze.empties import BRACED, Empties, Missing, Placeholder, shown
from proxy.preview.braze.exchange import Mistake, MistakeKind, Verdict
from proxy.preview.braze.filters import LOOP_ITERATIONS, Allowance, Filter, filters
from proxy.preview.braze.markup import BoundReachedError, line_of
from proxy.preview.braze.ruby import Now
from proxy.preview.braze.wire import CallRequest

# How deep texts from elsewhere may stand in each other: Content Blocks, and answers that are rendered again.
_DEPTH = 3
_STEP = re.compile(r"\.([^.\[\]]+)|\[(-?\d+)\]")
_OUTPUT_BYTES = 2_097_152


class BrazeContext(RenderContext):
    """A render context that counts what is used, and notes what came up empty; ``call`` makes a call.

    ``samples`` is what catalogs, promotions and carts hold, by the name of their tag. ``only`` are the names behind a
    ``${`` that can be read, or None for all.
    """

    __slots__ = ("_depth", "_filters", "allowance", "call", "empties", "mistakes", "only", "samples")

    def __init__(
        self,
        template: BoundTemplate,
        variables: Mapping[str, object],
        samples: Mapping[str, Mapping[str, object]],
        call: Callable[[CallRequest], Verdict],
        now: Now,
    ) -> None:
        super().__init__(template, globals=variables)
        # python-liquid's variables `now` and `today` are none of Ruby's, which knows 'now' in quotes only.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self.samples = samples
        self.call = call
        self.allowance = Allowance()
        self.empties = Empties(self.scope)
        self.mistakes: list[Mistake] = []
        self.only: frozenset[str] | None = None
        self._filters = filters(now)
        self._depth = 0

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the turns of a loop that is about to start, on top of all loops before it."""
        self.allowance.spend_iterations(length)

    def filter(self, name: str, token: Token | None) -> Filter:
        function = self._filters.get(name)
        if function is None:
            raise UnknownFilterError(f"unknown filter '{name}'", token=token)
        return self.allowance.guarded(name, function, token)

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        """Return a buffer of limited size; python-liquid's changes how lines end."""
        carry = buf.size if isinstance(buf, LimitedStringIO) else 0
        return LimitedStringIO(limit=_OUTPUT_BYTES - carry, newline="")

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        """Return what a path leads to, or a `Missing` that tells how far it led."""
        root, value = path[0], None
        for at, part in enumerate(path):
            try:
                if at == 1 and self.only is not None and root in BRACED and part not in self.only:
                    raise KeyError(part)
                value = self.scope[str(root)] if at == 0 else self.get_item(value, part)
            except (LookupError, TypeError):
                if default is not UNDEFINED:
                    return default
                if isinstance(value, Missing):
                    return Missing((*value.path, *path[at:]), value.at, value.parent, token)
                return Missing(path, at, value, token)
        if root == "content_blocks" and isinstance(value, str) and not isinstance(value, Placeholder):
            return self.rendered(value, f"the Content Block {path[-1]}", token)
        return value

    def get_item(self, obj: object, key: object) -> object:
        """Return ``obj.key`` or ``obj[key]``; python-liquid gives numbers no size, objects another first.

        Raises:
            LookupError: there is nothing.

        """
        key = ruby.plain(key)
        match obj:
            case Placeholder():
                return obj.part(key)
            case Mapping() if isinstance(key, str) and key in obj:
                return obj[key]
            case list() if isinstance(key, int) and not isinstance(key, bool):
                return obj[key]
            case Mapping() if isinstance(key, str) and _STEP.search(key):
                # ${address.city} and ${items[0]}: a path inside the braces.
                for name, index in _STEP.findall(f".{key}"):
                    obj = self.get_item(obj, int(index) if index else name)
                return obj
        if key == "size" and (size := ruby.size(obj)) is not None:
            return size
        if key in {"first", "last"} and isinstance(obj, (list, range, Mapping)):
            return self._filters[str(key)](obj)
        raise KeyError(key)

    def rendered(self, text: str, name: str, token: Token | None) -> str:
        """Return a text from elsewhere with its Liquid rendered; it shares the template's variables.

        Raises:
            LiquidError: its Liquid is wrong; the message says whose it is.

        """
        if self._depth >= _DEPTH:
            raise BoundReachedError(f"{name} stands in itself, or too deep in others", token=token)
        self.allowance.spend_iterations(1)
        origin, is_foreign = self.empties.origin, self.empties.is_foreign
        self.empties.origin, self.empties.is_foreign = origin or token, True
        self._depth += 1
        buffer = self.get_buffer()
        try:
            self.env.from_string(text).render_with_context(self, buffer, partial=True)
        except LiquidError as err:
            raise type(err)(f"in {name}: {err.message}", token=token) from err
        finally:
            self._depth -= 1
            self.empties.origin, self.empties.is_foreign = origin, is_foreign
        return buffer.getvalue()


def braze(context: RenderContext) -> BrazeContext:
    """Return the context as Braze's, which it always is."""
    if not isinstance(context, BrazeContext):
        raise TypeError("Braze's templates are rendered through proxy.preview.braze.render only")
    return context


_OPERATORS: Mapping[type[Expression], str] = {
    logical.EqExpression: "==",
    logical.NeExpression: "!=",
    logical.LtExpression: "<",
    logical.LeExpression: "<=",
    logical.GtExpression: ">",
    logical.GeExpression: ">=",
    logical.ContainsExpression: "contains",
}


class Comparison(Expression):
    """Two values and an operator, compared as Ruby does."""

    __slots__ = ("left", "operator", "right")

    def __init__(self, token: Token, left: Expression, operator: str, right: Expression) -> None:
        super().__init__(token)
        self.left = left
        self.operator = operator
        self.right = right

    def evaluate(self, context: RenderContext) -> bool:
        """Compare; text with a number is an error of the template."""
        left, right = self.left.evaluate(context), self.right.evaluate(context)
        is_asking = any(isinstance(side, (Nil, Empty, Blank)) for side in (self.left, self.right))
        for side, value in ((self.left, left), (self.right, right)):
            _note_condition(context, side, value, expected=is_asking)
        if self.operator in ("==", "!="):
            self._note_kinds(context, self.left, ruby.plain(left), self.right, ruby.plain(right))
            self._note_kinds(context, self.right, ruby.plain(right), self.left, ruby.plain(left))
        if isinstance(left, Placeholder) or isinstance(right, Placeholder):
            # It is something, and nobody knows what.
            return self.operator == "!="
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

    def _note_kinds(
        self, context: RenderContext, path: Expression, value: object, other: Expression, text: object
    ) -> None:
        """Tell of a value that is compared with a written text and never is one."""
        if (
            not isinstance(path, Path)
            or not isinstance(other, StringLiteral)
            or not isinstance(text, str)
            or not text
        ):
            return
        name = shown(_names(path, context))
        match value:
            case list():
                said = f"{name} is a list, which equals no text: write {name} contains '{text}'"
            case bool():
                said = f"{name} is true or false, never a text: write {name} == true"
            case int() | float() if re.fullmatch(r"-?\d+(?:\.\d+)?", text):
                said = f"{name} is a number here, which equals no text: write {text} without quotes"
            case _:
                return
        line = line_of(self.token.source, self.token.start_index)
        braze(context).mistakes.append(Mistake(MistakeKind.COMPARED, line, f"{said}.", name))

    def children(self) -> list[Expression]:
        return [self.left, self.right]


class Presence(Expression):
    """A value by itself as a condition."""

    __slots__ = ("value",)

    def __init__(self, value: Expression) -> None:
        super().__init__(value.token)
        self.value = value

    def evaluate(self, context: RenderContext) -> object:
        value = self.value.evaluate(context)
        _note_condition(context, self.value, value, expected=True)
        return value

    def children(self) -> list[Expression]:
        return [self.value]


def _note_condition(context: RenderContext, side: Expression, value: object, *, expected: bool) -> None:
    is_nothing = ruby.plain(value) is None or (isinstance(value, Placeholder) and not expected)
    if isinstance(side, Path) and is_nothing:
        braze(context).empties.add("condition", side.token, _names(side, context), value, expected=expected)


def _names(path: Path, context: RenderContext) -> list[object]:
    return [part.evaluate(context) if isinstance(part, Path) else part for part in path.path]


def compared(expression: Expression) -> Expression:
    """Return a condition of the library's with its comparisons made Ruby's."""
    match expression:
        case BooleanExpression():
            return BooleanExpression(expression.token, compared(expression.expression))
        case logical.LogicalAndExpression() | logical.LogicalOrExpression():
            return type(expression)(expression.token, compared(expression.left), compared(expression.right))
        case _ if (operator := _OPERATORS.get(type(expression))) is not None:
            left, right = expression.children()
            return Comparison(expression.token, left, operator, right)
        case _:
            return Presence(expression)


class BrazeOutputNode(OutputNode):
    """``{{ … }}``, printed as Ruby prints."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        value = self.expression.evaluate(context)
        text = ruby.output(value)
        if isinstance(self.expression, FilteredExpression) and isinstance(self.expression.left, Path):
            self._note(braze(context), self.expression.left, self.expression.filters or [], text)
            items = ruby.plain(value)
            if (
                isinstance(items, list)
                and len(items) > 1
                and all(isinstance(item, (str, int, float)) for item in items)
            ):
                name = shown(_names(self.expression.left, context))
                message = f"{name} is a list, and its items are printed with nothing between: add | join: ', '."
                line = line_of(self.token.source, self.token.start_index)
                braze(context).mistakes.append(Mistake(MistakeKind.WHOLE_LIST, line, message, name))
        return buffer.write(text)

    def _note(self, context: BrazeContext, path: Path, filters: list[Filtering], text: str) -> None:
        if text and (not filters or any(one.name == "default" for one in filters)):
            return
        value = path.evaluate(context)
        if not text or isinstance(value, Missing):
            context.empties.add("output", self.token, _names(path, context), value)


class BrazeEchoNode(EchoNode, BrazeOutputNode):
    """``{% echo … %}``, printed as Ruby prints."""


def _conditional(
    node: type[IfNode] | type[UnlessNode], *, token: Token, condition: Expression, **blocks: Any
) -> Node:
    """Return an ``if`` or ``unless`` with Ruby's comparisons; ``blocks`` is what stands in it."""
    made = node(token, compared(condition), **blocks)
    for alternative in made.alternatives:
        alternative.expression = compared(alternative.expression)
    return made


def _case(token: Token, expression: Expression, blocks: list[MultiExpressionBlockNode | BlockNode]) -> Node:
    for block in blocks:
        if isinstance(block, MultiExpressionBlockNode):
            block.expression = AnyOf(block.expression.token, expression, block.expression.expressions)
    return CaseNode(token, expression, blocks)


class AnyOf(_AnyExpression):
    """The values of one ``{% when … %}``."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> list[bool]:
        left = self.left.evaluate(context)
        _note_condition(context, self.left, left, expected=True)
        return [ruby.equal(left, right.evaluate(context)) for right in self.expressions]


class BrazeLoopExpression(LoopExpression):
    """What a ``{% for … %}`` or ``{% tablerow … %}`` goes over."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> tuple[Iterator[object], int]:
        """Return the items and how many; an object gives pairs, a limit below zero gives none."""
        value = self.iterable.evaluate(context)
        every = _looped(value)
        if isinstance(self.iterable, Path) and (not every or isinstance(value, Mapping)):
            braze(context).empties.add("loop", self.token, _names(self.iterable, context), value)
        if isinstance(ruby.plain(value), str):
            # A text is one item, whatever limit and offset say.
            return iter(every), len(every)
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
            if items.stop - items.start > LOOP_ITERATIONS:
                raise BoundReachedError(f"more than {LOOP_ITERATIONS} turns of loops", token=None)
            return items
        case Mapping() as pairs:
            return [list(pair) for pair in pairs.items()]
        case str() as whole if whole:
            return [whole]
        case _:
            return []


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

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Write the rows; Ruby has one without cells where there is nothing but nil to loop over."""
        value = ruby.plain(self.expression.iterable.evaluate(context))
        if value not in (None, False) and not self.expression.evaluate(context)[1]:
            return buffer.write('<tr class="row1">\n</tr>\n')
        return super().render_to_output(context, buffer)


class BrazeCycleNode(CycleNode):
    """``{% cycle … %}``, printed as Ruby prints."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        values = [value.evaluate(context) for value in self.args]
        group = ruby.text(self.group.evaluate(context)) if self.group else ""
        at = context.cycle(group or str(list(map(str, self.args))), len(values))
        return buffer.write(ruby.output(values[at]))


_NODES: Mapping[str, Callable[..., Node]] = {
    TOKEN_OUTPUT: BrazeOutputNode,
    "echo": BrazeEchoNode,
    "if": partial(_conditional, IfNode),
    "unless": partial(_conditional, UnlessNode),
    "case": _case,
    "for": lambda token, expression, **blocks: ForNode(token, _loop(expression), **blocks),
    "tablerow": BrazeTablerowNode,
    "cycle": BrazeCycleNode,
}


def register(environment: Environment) -> None:
    """Have an environment's tags make these nodes; its filters come with the context."""
    for name, node in _NODES.items():
        environment.tags[name].node_class = node  # type: ignore[attr-defined]  # these tags have one
