"""Gives the enums of the backend the descriptions that the API shows. Which enums there are stands in schema.enums."""

from enum import Enum
from typing import Any

import strawberry


def described(enum: type[Enum], description: str, values: dict[str, str], name: str | None = None) -> Any:
    """An enum of the backend as a GraphQL enum, each value with its description.

    Raises:
        KeyError: a value has none.
    """
    registered = strawberry.enum(enum, name=name, description=description)
    definition = registered.__strawberry_definition__  # type: ignore[attr-defined]  # added by Strawberry
    for value in definition.values:
        value.description = values[value.name]
    return registered
