"""The state of one rendering, carried through the Liquid library's own context."""

import re
from collections.abc import Callable, Mapping
from io import StringIO
from typing import Protocol, TextIO

from liquid import BoundTemplate, RenderContext
from liquid.exceptions import LiquidError, UnknownFilterError
from liquid.output import LimitedStringIO
from liquid.token import Token
from liquid.undefined import UNDEFINED
from liquid.utils import ReadOnlyChainMap

from proxy.preview.braze import ruby, rules
from proxy.preview.braze.bounds import Allowance, BoundReachedError
from proxy.preview.braze.call import CallRequest
from proxy.preview.braze.empties import BRACED, Empties, Missing
from proxy.preview.braze.mistakes import Mistake
from proxy.preview.braze.objects import JOINING, Placeholder
from proxy.preview.braze.ruby import Now
from proxy.preview.braze.rules import Verdict
from proxy.preview.braze.standard_filters import Filter, filters

# How deep texts from elsewhere may stand in each other: Content Blocks, and answers that are rendered again.
_DEPTH = 3
_STEP = re.compile(r"\.([^.\[\]]+)|\[(-?\d+)\]")


class Calls(Protocol):
    """Makes the calls of a rendering."""

    def call(self, asked: CallRequest) -> Verdict:
        """Make one call and return what becomes of its answer."""
        ...


class BrazeContext(RenderContext):
    """A render context that counts what is used, makes calls, and notes what came up empty.

    ``samples`` is what catalogs, promotions and carts hold, by the name of their tag. ``only`` are the names behind a
    ``${`` that can be read, or None for all.
    """

    __slots__ = ("_depth", "_filters", "allowance", "empties", "exchange", "mistakes", "only", "samples")

    def __init__(
        self,
        template: BoundTemplate,
        variables: Mapping[str, object],
        samples: Mapping[str, Mapping[str, object]],
        exchange: Calls,
        now: Now,
    ) -> None:
        super().__init__(template, globals=variables)
        # python-liquid's variables `now` and `today` are none of Ruby's, which knows 'now' in quotes only.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self.samples = samples
        self.exchange = exchange
        self.allowance = Allowance()
        self.empties = Empties(self.scope)
        self.mistakes: list[Mistake] = []
        self.only: frozenset[str] | None = None
        self._filters = filters(now)
        self._depth = 0

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the turns of a loop that is about to start, on top of all loops before it."""
        self.allowance.spend_iterations(length)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """Return a filter that measures what it is given first, and leaves placeholders as they are."""
        function = self._filters.get(name)
        if function is None:
            raise UnknownFilterError(f"unknown filter '{name}'", token=token)
        return self.allowance.guarded(name, _around_placeholders(name, function), token)

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


def _around_placeholders(name: str, function: Filter) -> Filter:
    def filtered(*values: object, **named: object) -> object:
        placeholder = next((value for value in values if isinstance(value, Placeholder)), None)
        return function(*values, **named) if placeholder is None or name in JOINING else placeholder

    return filtered
