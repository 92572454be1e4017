"""The person and the event a message is previewed for, read from JSON someone typed."""

from __future__ import annotations

from dataclasses import fields

from proxy.preview.braze.rendering import Profile

KINDS = tuple(field.name for field in fields(Profile))


class BadPerson(ValueError):
    """The JSON does not describe a person; the message names the key."""


def person(data: object) -> Profile:
    """Return the `Profile` whose fields are the keys of ``data``.

    Raises:
        BadPerson: not an object, an unknown key, or a value that is not an object.

    """
    if not isinstance(data, dict):
        raise BadPerson("the data must be a JSON object")
    for kind, values in data.items():
        if kind not in KINDS:
            raise BadPerson(f"{kind} is not known; the data takes {', '.join(KINDS)}")
        if not isinstance(values, dict):
            raise BadPerson(f'{kind} must be an object of names and values, such as {{"item_sku": "TRUCK-01"}}')
    for name, values in data.get("namespaces", {}).items():
        if not isinstance(values, dict):
            raise BadPerson(f"namespaces.{name} must be an object of names and values")
    return Profile(**data)
