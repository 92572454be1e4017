"""The channels a message goes out by, as far as Connected Content treats them differently."""

from enum import StrEnum


class Channel(StrEnum):
    """One of Braze's channels."""

    EMAIL = "email"
    PUSH = "push"
    SMS = "sms"
    IN_APP = "in-app"

    @property
    def is_html(self) -> bool:
        """Whether the message is HTML, so that text in it has to be escaped; Braze does not do that."""
        return self is Channel.EMAIL

    @property
    def retries(self) -> bool:
        """Whether ``:retry`` works (Braze: Use retry logic for Connected Content: not for in-app messages)."""
        return self is not Channel.IN_APP
