"""What a parameter takes: read, said in a message, and described as JSON Schema, from one definition each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
Read_co = TypeVar("Read_co", covariant=True)


class Takes(Protocol[Read_co]):
    """One kind of value."""

    @property
    def words(self) -> str:
        """What it takes, for a message: ``takes …``."""

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""

    def read(self, text: str) -> Read_co:
        """Return the value; raise ``ValueError`` for a wrong one."""


@dataclass(frozen=True)
class WholeNumber:
    """A whole number within bounds, both included."""

    least: int
    most: int

    @property
    def words(self) -> str:
        """What it takes."""
        return f"takes a whole number from {self.least} to {self.most}"

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def read(self, text: str) -> int:
        """Return the number."""
        if not re.fullmatch(r"[0-9]{1,9}", text) or not self.least <= int(text) <= self.most:
            raise ValueError
        return int(text)


@dataclass(frozen=True)
class Decimals:
    """A number within bounds, both included, written with a point."""

    least: int
    most: int

    @property
    def words(self) -> str:
        """What it takes."""
        return f"takes a number from {self.least} to {self.most}, such as {self.most - 1}.25"

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}

    def read(self, text: str) -> float:
        """Return the number."""
        if not re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,20})?", text) or not self.least <= float(text) <= self.most:
            raise ValueError
        return float(text)


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    choices: tuple[str, ...]
    words: str

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""
        return {"type": "string", "enum": list(self.choices)}

    def read(self, text: str) -> str:
        """Return the word."""
        if text not in self.choices:
            raise ValueError
        return text


@dataclass(frozen=True)
class Written:
    """Text of one form."""

    form: str
    """A regular expression for the whole text."""
    words: str

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""
        return {"type": "string", "pattern": f"^(?:{self.form})$"}

    def read(self, text: str) -> str:
        """Return the text."""
        if not re.fullmatch(self.form, text):
            raise ValueError
        return text


@dataclass(frozen=True)
class AnyText:
    """Any text at all: nothing is wrong, and of several the first counts."""

    words: str

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""
        return {"type": "string"}

    def read(self, text: str) -> str:
        """Return the text."""
        return text


@dataclass(frozen=True)
class Several:
    """Texts of one form, comma-separated, with white space around each; the parameter may also be repeated."""

    form: str
    words: str
    most: int | None = None
    never: str = ""
    """A regular expression for what must be nowhere in the text."""

    @property
    def schema(self) -> dict[str, Any]:
        """What it takes, as JSON Schema."""
        times = "*" if self.most is None else f"{{0,{self.most - 1}}}"
        schema: dict[str, Any] = {"type": "string", "pattern": rf"^\s*{self.form}\s*(?:,\s*{self.form}\s*){times}$"}
        return {**schema, "not": {"pattern": self.never}} if self.never else schema

    def read(self, text: str) -> str:
        """Return one of the texts."""
        if not re.fullmatch(self.form, text):
            raise ValueError
        return text


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """A query parameter that is given once at most."""

    name: str
    meaning: str
    takes: Takes[Any]
    default: T
    """What stands for a parameter that is not given."""
    make: Callable[[Any], T]
    """Turns what was read into what is asked for."""


@dataclass(frozen=True)
class ListParameter:
    """A query parameter with one value or several."""

    name: str
    meaning: str
    takes: Several
    required: bool = False
