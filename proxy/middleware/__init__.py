"""The hit lane: an exact repeat is answered from ready bytes, before Flask; those who ask at once share one making.

A request reads as: the same was answered and is still fresh: repeat it; the same is being answered: wait for it; else
have the app answer, and hold what may be repeated. What refuses callers, by address say, has to stand before it.
"""

from proxy.middleware.held import HeldAnswers
from proxy.middleware.lane import Lane

__all__ = ["HeldAnswers", "Lane"]
