"""The state of one rendering, carried through the Liquid library's own context."""

from collections.abc import Callable, Mapping
from typing import Protocol

from liquid import BoundTemplate, RenderContext
from liquid.token import Token

from proxy.preview.braze.budget import Budget
from proxy.preview.braze.outgoing import Asked
from proxy.preview.braze.verdict import Verdict


class Calls(Protocol):
    """Makes the calls of a rendering."""

    def call(self, asked: Asked) -> Verdict:
        """Make one call and return what becomes of its answer."""
        ...


class BrazeContext(RenderContext):
    """A render context that counts what is used and knows where calls are made."""

    __slots__ = ("budget", "exchange")

    def __init__(self, template: BoundTemplate, variables: Mapping[str, object], exchange: Calls) -> None:
        super().__init__(template, globals=variables)
        self.budget = Budget()
        self.exchange = exchange

    def raise_for_loop_limit(self, length: int = 1) -> None:
        """Count the turns of a loop that is about to start, on top of all loops before it."""
        self.budget.spend_iterations(length)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        """Return a filter that measures what it is given first."""
        return self.budget.guarded(name, super().filter(name, token), token)
