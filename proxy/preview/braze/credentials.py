"""The credentials a workspace stores and a tag names.

Source: Braze: Make a Connected Content call, "Authentication types".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BasicCredential:
    """What ``:basic_auth name`` sends as HTTP Basic."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """The headers ``:auth_credentials name`` adds, and the domain they may go to (None: any)."""

    headers: Mapping[str, str] = field(repr=False)
    allowed_domain: str | None = None

    def allows(self, host: str) -> bool:
        """Tell whether the headers may go to ``host``: the allowed domain itself, or a name under it."""
        if self.allowed_domain is None:
            return True
        domain = self.allowed_domain.lower()
        return host.lower() == domain or host.lower().endswith(f".{domain}")


Credentials = Mapping[str, BasicCredential | TokenCredential]
