"""What can be wrong with a template, and what one rendering may use, so that it ends soon and stays small.

The Liquid library bounds output, variables and nested loops. It does not add up loops that follow each
other, and it lets one filter make a gigabyte out of a kilobyte; both are counted here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from traceback import walk_tb

from liquid.ast import Node
from liquid.exceptions import FilterError, LiquidError, ResourceLimitError
from liquid.token import Token

from proxy.preview.braze import rules
from proxy.preview.braze.ruby import plain


class TemplateError(Exception):
    """The template can't be rendered: its Liquid is wrong.

    ``line`` counts from 1 in the template as written; ``message`` is one plain sentence without it. ``index`` is
    where in the template, or None where nobody knows.
    """

    def __init__(self, message: str, line: int, index: int | None = None) -> None:
        super().__init__(f"line {line}: {message}")
        self.message = message
        self.line = line
        self.index = index


class TemplateBoundError(TemplateError):
    """The template asks for more than one rendering may use: loops, output, text, or calls."""


class BoundReachedError(ResourceLimitError):
    """Raised inside a rendering when one of the room's own bounds is reached."""


def line_of(source: str, index: int) -> int:
    """Return the line, counted from 1, of a position in the template; positions outside are pulled in."""
    return source.count("\n", 0, max(0, min(index, len(source)))) + 1


def explained(error: LiquidError, source: str, *, line: int | None = None) -> TemplateError:
    """Turn an error of the Liquid library into this room's type, keeping its words and finding its line.

    ``line`` is used when the library does not know the place.
    """
    token, index = error.token, None
    if token is not None and token.source and token.start_index >= 0:
        line = line_of(source, token.start_index)
        index = token.start_index if token.source == source else None
    kind = TemplateBoundError if isinstance(error, ResourceLimitError) else TemplateError
    return kind(str(error.message), line or line_of(source, len(source)), index)


def library_failure(error: Exception, source: str) -> TemplateError | None:
    """Explain an exception the Liquid library lets through for odd values, such as a loop offset of 1e3.

    Returns None when it was not raised inside the library: then it is a bug of this project's, and stays one.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if not frames or str(frames[-1].f_globals.get("__name__")).partition(".")[0] != "liquid":
        return None
    return TemplateError(f"a value can't be used there: {error}", line_reached(error, source))


def line_reached(error: Exception, source: str) -> int:
    """Return the line of the innermost tag or output that was being rendered when ``error`` was raised."""
    line = 1
    for frame, _ in walk_tb(error.__traceback__):
        node = frame.f_locals.get("self")
        # The pieces of a connected_content tag are templates of their own, with positions of their own.
        if isinstance(node, Node) and node.token.source == source:
            line = line_of(source, node.token.start_index)
    return line


Filter = Callable[..., object]


@dataclass(slots=True)
class Allowance:
    """Counts down what is left for one rendering; raises `BoundReachedError` when nothing is."""

    iterations: int = rules.LOOP_ITERATIONS
    filter_calls: int = rules.FILTER_CALLS
    filter_input: int = rules.FILTER_INPUT

    def spend_iterations(self, count: int) -> None:
        """Take ``count`` turns of a loop from what is left."""
        self.iterations -= count
        if self.iterations < 0:
            raise BoundReachedError(f"more than {rules.LOOP_ITERATIONS} turns of loops", token=None)

    def guarded(self, name: str, function: Filter, token: Token | None) -> Filter:
        """Return the filter with its inputs measured first, and with its failures as Liquid errors."""

        def guard(*given: object, **named: object) -> object:
            values = tuple(map(plain, given))
            self.filter_calls -= 1
            if self.filter_calls < 0:
                raise BoundReachedError(f"more than {rules.FILTER_CALLS} filters applied", token=token)
            if any(map(_too_large, (*values, *named.values()))) or _work(name, values) > rules.FILTER_WORK:
                raise BoundReachedError(f"the filter '{name}' is given too much to work on", token=token)
            self.filter_input -= sum(map(_size, values))
            if self.filter_input < 0:
                raise BoundReachedError("the filters together are given too much to work on", token=token)
            try:
                return function(*values, **named)
            except LiquidError:
                raise
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as err:
                because = "can't use that value" if _takes(function, values, named) else "takes other values"
                raise FilterError(f"the filter '{name}' {because}: {err}", token=token) from err

        return guard


def _takes(function: Filter, values: tuple[object, ...], named: Mapping[str, object]) -> bool:
    try:
        signature(function).bind(*values, **named)
    except TypeError:
        return False
    return True


def _too_large(value: object) -> bool:
    if isinstance(value, str):
        return len(value) > rules.FILTER_TEXT_CHARACTERS
    if isinstance(value, int):
        return value.bit_length() > rules.FILTER_NUMBER_BITS
    if isinstance(value, range):
        # len() of a range can overflow, so its ends are compared.
        return value.stop - value.start > rules.FILTER_ITEMS
    if isinstance(value, (list, tuple, Mapping)):
        return len(value) > rules.FILTER_ITEMS
    return False


def _size(value: object) -> int:
    """Return a rough size of what a filter reads; an item of a list takes as long as some twenty characters."""
    if isinstance(value, str):
        return len(value)
    return 20 * len(value) if isinstance(value, (list, tuple, Mapping)) else 0


def _work(name: str, values: tuple[object, ...]) -> int:
    """Return a rough size of what a filter would produce or compare; only those that multiply have one."""
    match name, values:
        case "replace", (str() as text, str() as old, str() as new):
            return text.count(old) * len(new)
        case "join", (list() as items, str() as between):
            return len(items) * len(between)
        case "uniq", (list() as items, *_):
            return len(items) ** 2
        case "strip_html", (str() as text,):
            # The parser looks again from each unfinished tag.
            return len(text) ** 2 // 100
        case _:
            return 0
