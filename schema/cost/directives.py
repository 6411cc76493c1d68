"""The prices of fields as the SDL shows them, in IBM's @cost and @listSize; they follow from the declarations."""

from collections.abc import Iterable
from typing import Any

import strawberry
from django.conf import settings
from strawberry.schema_directive import Location

from schema.declarations import Aggregate, ChildList, ChildPage, ChildTop, RootPage

_FEW = 10  # rows that a list without a page is taken to have


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="cost",
    description="What a field costs by itself; without it an object costs 1, and a scalar or an enum nothing."
    " Each condition of its filter costs 1 more.",
)
class Cost:
    weight: str = strawberry.directive_field("weight")


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="listSize",
    description="How many items a list is taken to have: the value of a slicing argument (the length, of an argument"
    " that is a list), else the assumed size. With sizedFields it is not the field's own value but these fields of it"
    " that are the lists.",
)
class ListSize:
    assumed_size: int | None = strawberry.directive_field("assumedSize", default=strawberry.UNSET)
    slicing_arguments: list[str] | None = strawberry.directive_field("slicingArguments", default=strawberry.UNSET)
    sized_fields: list[str] | None = strawberry.directive_field("sizedFields", default=strawberry.UNSET)
    require_one_slicing_argument: bool | None = strawberry.directive_field("requireOneSlicingArgument", default=True)


def prices(declaration: Any) -> tuple[Any, ...]:
    """The directives of a declared field."""
    match declaration:
        case RootPage() | ChildPage():
            size = ListSize(
                assumed_size=settings.ENVIRONMENT.usual_page_size,
                slicing_arguments=["first", "last"],
                sized_fields=["edges", "nodes"],
                require_one_slicing_argument=False,
            )
            return (size,)
        case ChildTop(single=False):
            return (sized_by("last"),)
        case ChildList():
            return (ListSize(assumed_size=_FEW, require_one_slicing_argument=False),)
        case Aggregate():
            return (Cost(weight="2"),)
        case _:
            return ()


def sized_by(argument: str) -> ListSize:
    """The directive of a list that has as many items as an argument says, or has."""
    return ListSize(assumed_size=_FEW, slicing_arguments=[argument], require_one_slicing_argument=False)


def weigh(fields: Iterable[Any], weight: int) -> None:
    """Nothing; gives fields that have no price one."""
    for field in fields:
        if not any(isinstance(directive, Cost) for directive in field.directives):
            field.directives = (*field.directives, Cost(weight=str(weight)))
