"""What Trustpilot's invitation API says, without the HTTP that it says it with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Trustpilot's final word on an invitation: a 2xx, or a 4xx that sending it again would not change.

    ``body`` is JSON or empty.
    """

    status: int
    body: bytes

    @property
    def accepted(self) -> bool:
        """Whether Trustpilot took the invitation."""
        return 200 <= self.status < 300
