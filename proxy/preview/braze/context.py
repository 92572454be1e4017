"""The state of one rendering, carried through the Liquid library's own context, and what one rendering may use.

The library bounds output, variables and nested loops, so that a rendering ends soon and stays small. It does not add
up loops that follow each other, and it lets one filter make a gigabyte out of a kilobyte; both are counted here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from io import StringIO
from typing import TextIO

from liquid import BoundTemplate, RenderContext
from liquid.exceptions import FilterError, LiquidError, UnknownFilterError
from liquid.output import LimitedStringIO
from liquid.token import Token
from liquid.undefined import UNDEFINED
from liquid.utils import ReadOnlyChainMap

from proxy.preview.braze import ruby, rules
from proxy.preview.braze.empties import BRACED, JOINING, Empties, Missing, Placeholder
from proxy.preview.braze.exchange import Mistake, Verdict
from proxy.preview.braze.markup import BoundReachedError
from proxy.preview.braze.ruby import Now
from proxy.preview.braze.standard_filters import Filter, filters
from proxy.preview.braze.wire import CallRequest

# How deep texts from elsewhere may stand in each other: Content Blocks, and answers that are rendered again.
_DEPTH = 3
_STEP = re.compile(r"\.([^.\[\]]+)|\[(-?\d+)\]")


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
        """Return the filter with its inputs measured first, its failures as Liquid errors, and placeholders kept."""

        def guard(*given: object, **named: object) -> object:
            values = tuple(map(ruby.plain, given))
            self.filter_calls -= 1
            if self.filter_calls < 0:
                raise BoundReachedError(f"more than {rules.FILTER_CALLS} filters applied", token=token)
            if any(map(_too_large, (*values, *named.values()))) or _work(name, values) > rules.FILTER_WORK:
                raise BoundReachedError(f"the filter '{name}' is given too much to work on", token=token)
            self.filter_input -= sum(map(_size, values))
            if self.filter_input < 0:
                raise BoundReachedError("the filters together are given too much to work on", token=token)
            placeholder = next((value for value in values if isinstance(value, Placeholder)), None)
            if placeholder is not None and name not in JOINING:
                return placeholder
            try:
                return function(*values, **named)
            except LiquidError:
                raise
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as err:
                fits = _takes(function, values, named)
                because = f"can't use that value: {err}" if fits else "is given too few or too many values"
                raise FilterError(f"the filter '{name}' {because}", token=token) from err

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
        return LimitedStringIO(limit=rules.OUTPUT_BYTES - carry, newline="")

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
