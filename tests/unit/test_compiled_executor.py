"""The compiled executor gives graphql-core's answers: the same data in the same order, the same errors."""

import asyncio
import enum
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Annotated, Any, NewType

import pytest
import strawberry
from aiodataloader import DataLoader
from both_executors import LEAVES, PLAIN, Broken, compiled, operation_of, same
from graphql import get_introspection_query, parse
from strawberry.permission import BasePermission
from strawberry.schema.config import StrawberryConfig

from backend.payers.models import Payer as PayerRow
from schema.execution import core
from schema.execution.selection import Conditions, conditions_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


strawberry.enum(Colour)
Seen = NewType("Seen", str)
SEEN = strawberry.scalar(name="Seen", serialize=lambda value: None if value == "nothing" else f"seen {value}")


class _Refuses(BasePermission):
    message = "not for you"

    def has_permission(self, source: Any, info: strawberry.Info, **_: Any) -> bool:  # noqa: ARG002 - Strawberry's
        return info.context["who"] == "nobody"


@strawberry.input
class Size:
    width: int
    height: int = 2


@strawberry.interface
class Shape:
    name: str

    @strawberry.field
    def place(self, info: strawberry.Info) -> str:
        raw = info._raw_info
        names = [node.name.value for node in raw.field_nodes]
        return (
            f"{info.path.as_list()} {info.path.typename} {info.field_name} {names} {raw.return_type} {raw.parent_type}"
        )


@strawberry.type
class Circle(Shape):
    radius: int

    @strawberry.field
    async def area(self, info: strawberry.Info, times: int = 1) -> float:
        await asyncio.sleep(0)
        return self.radius * times * info.variable_values.get("scale", 1) * 3.0

    @strawberry.field
    def broken(self) -> str | None:
        raise Broken(self.name)

    @strawberry.field
    async def sure(self) -> int:
        await asyncio.sleep(0)
        return self.radius if self.radius < 3 else None  # type: ignore[return-value]  # what a faulty resolver does


@strawberry.type
class Square(Shape):
    side: float

    @strawberry.field
    def colour(self) -> Colour:
        return Colour.RED if self.side < 2 else "green"  # type: ignore[return-value]  # Strawberry converts it

    @strawberry.field
    def colours(self) -> list[Colour | None]:
        return [Colour.RED, None, Colour.BLUE]

    @classmethod
    def is_type_of(cls, found: Any, info: Any) -> bool:
        return isinstance(found, cls) and "nowhere" not in info.path.as_list()


@strawberry.type
class Query:
    @strawberry.field
    def shapes(self, count: int = 4) -> list[Shape]:
        return [Circle(name=f"c{n}", radius=n) if n % 2 else Square(name=f"s{n}", side=n) for n in range(count)]

    @strawberry.field
    async def either(self, last: bool) -> Annotated[Circle | Square, strawberry.union("Either")] | None:
        await asyncio.sleep(0)
        return Square(name="last", side=1.0) if last else Circle(name="first", radius=1)

    @strawberry.field
    async def streamed(self) -> list[Circle | None]:
        async def shapes() -> AsyncIterator[Circle | None]:
            yield Circle(name="one", radius=1)
            await asyncio.sleep(0)
            yield None
            raise Broken("the stream ends")

        return shapes()  # type: ignore[return-value]  # Strawberry converts it

    @strawberry.field
    def awaited(self) -> list[Circle]:
        async def shape(radius: int) -> Circle:
            await asyncio.sleep(0)
            return Circle(name="awaited", radius=radius)

        return [shape(1), shape(2)]  # type: ignore[list-item]  # Strawberry converts it

    @strawberry.field
    def sized(self, size: Size, colours: list[Colour] | None = None) -> str:
        return f"{size} {colours}"

    @strawberry.field
    def seen(self, value: str) -> Seen | None:
        return Seen(value)

    @strawberry.field(permission_classes=[_Refuses])
    def secret(self) -> str | None:
        return "secret"


STRAWBERRY = strawberry.Schema(Query, types=[Circle, Square], config=StrawberryConfig(scalar_map={Seen: SEEN}))


@pytest.mark.parametrize(
    "text",
    [
        "{ shapes { __typename name place } }",
        "{ shapes(count: 2) { ... on Circle { area twice: area(times: 2) broken } ... on Square { side colours } } }",
        "{ shapes(count: 1) { ... on Square { colour } } }",
        "{ shapes(count: 3) { ... on Square { colour } } }",
        "{ nowhere: shapes { name } }",
        "{ shapes { name ... on Circle { sure area } } }",
        "query($scale: Int!) { shapes { ... on Circle { area(times: $scale) } place } }",
        "{ either(last: true) { ...E } o: either(last: false) { ...E } } fragment E on Either { ...on Shape { name } }",
        "query($last: Boolean!) { either(last: $last) { __typename ... on Circle { radius } } }",
        "{ streamed { name area } awaited { name sure area place } }",
        "{ a: sized(size: {width: 1}) b: sized(size: {width: 1, height: 3}, colours: [RED, BLUE]) }",
        "query($scale: Int!) { sized(size: {width: $scale}) }",
        '{ seen(value: "something") nothing: seen(value: "nothing") }',
        "{ secret __typename }",
        "query($last: Boolean!) { shapes { name @skip(if: $last) ... @include(if: $last) { place } } }",
        "{ shapes { place } shapes { place name } ... on Query { shapes { name } } }",
    ],
)
@pytest.mark.parametrize("variables", [{"scale": 2, "last": True}, {"scale": 3, "last": False}])
async def test_strawberrys_fields_are_resolved_alike(text: str, variables: dict[str, Any]) -> None:
    await same(STRAWBERRY, text, {name: value for name, value in variables.items() if f"${name}:" in text})


async def test_the_schema_describes_itself_alike() -> None:
    data, errors = await same(STRAWBERRY, get_introspection_query(specified_by_url=True, input_value_deprecation=True))

    assert errors == []
    assert "Circle" in {one["name"] for one in data["__schema"]["types"]}
    await same(STRAWBERRY, '{ __type(name: "Shape") { name possibleTypes { name } } __typename }')


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        2**31,
        -(2**31),
        1.0,
        1.5,
        float("nan"),
        float("-inf"),
        True,
        "1",
        "x",
        b"x",
        [1],
        Colour.RED,
        Decimal("1.5"),
    ],
    ids=repr,
)
async def test_every_scalar_takes_and_refuses_the_same_values(value: Any) -> None:
    for leaf in LEAVES.split():
        await same(PLAIN, f"{{ list {{ {leaf} }} }}", root=lambda leaf=leaf: {"list": [{leaf: value}, {leaf: value}]})


async def test_whatever_ends_an_operation_ends_what_it_waits_for() -> None:
    ended = []

    def waits(name: str) -> Any:
        async def resolve(_info: Any) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(name)

        return resolve

    async def cancelled(_info: Any) -> None:
        raise asyncio.CancelledError

    document, things = (
        parse("{ list { name n } }"),
        [{"name": waits("first"), "n": waits("second")}, {"n": waits("third")}],
    )
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await compiled(PLAIN, document, {}, {"list": things})
    assert sorted(ended) == ["first", "second", "third"]
    with pytest.raises(asyncio.CancelledError):
        await compiled(PLAIN, document, {}, {"list": [{"name": waits("fourth"), "n": cancelled}]})
    assert ended[-1] == "fourth"


async def test_nothing_goes_on_after_an_answer_without_data() -> None:
    ended = []

    async def later(_info: Any) -> None:
        await asyncio.sleep(0)
        ended.append("later")

    result = await compiled(PLAIN, parse("{ thing { name } n }"), {}, {"thing": {"name": later}, "n": None})

    assert (result.data, ended) == (None, ["later"])


async def test_all_that_a_level_waits_for_is_asked_for_together() -> None:
    asked: list[list[int]] = []

    async def load(keys: list[int]) -> list[str]:
        asked.append(keys)
        return [f"name {key}" for key in keys]

    loader = DataLoader(load)
    things = [
        {"name": lambda _info, key=key: loader.load(key), "one": {"name": lambda _info: loader.load(9)}}
        for key in range(3)
    ]

    await same(PLAIN, "{ list { name one { name } } }", root=lambda: {"list": things})

    assert sorted(asked[0]) == [0, 1, 2, 9]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "query($a: Boolean!, $b: Boolean!) { x @include(if: $b) ...F } fragment F on Q { y @skip(if: $a) }",
            ("a", "b"),
        ),
        ("{ x @skip(if: true) } fragment Unused on Q { y @other }", ()),
    ],
)
def test_known_directives_are_conditions(text: str, found: tuple[str, ...]) -> None:
    assert conditions_of(*operation_of(parse(text))) == Conditions(found, others=False)


def test_other_directives_are_left_to_graphql_core() -> None:
    for text in ("query @other { x }", "{ ...F } fragment F on Q { x { y @skip(if: true) @other } }"):
        assert conditions_of(*operation_of(parse(text))).others


def test_what_is_relied_on_in_graphql_core_and_strawberry_is_there() -> None:
    fields = {name: STRAWBERRY._schema.type_map["Circle"].fields[name] for name in ("radius", "area", "place")}
    assert core.reader(fields["radius"])(Circle(name="c", radius=5)) == 5
    assert [core.reader(fields[name]) for name in ("area", "place")] == [None, None]
    product = core.core_schema()
    payer, query = product.type_map["Payer"], product.query_type
    assert core.reader(payer.fields["code"])(PayerRow(code="acme")) == "acme"
    assert core.declared(query.fields["payers"]) is not None
    assert core.declared(query.fields["viewer"]) is None
    assert core.surely(payer)(PayerRow()) is True
    assert core.surely(payer)(strawberry.cast(Circle, PayerRow())) is False
    assert core.surely(STRAWBERRY._schema.type_map["Square"]) is None
    assert core.enum_names(STRAWBERRY._schema.type_map["Colour"]) == {
        "red": "RED",
        "blue": "BLUE",
        Colour.RED: "RED",
        Colour.BLUE: "BLUE",
    }


@pytest.mark.parametrize(
    "value", ["a", "", 1, 0, 2**31 - 1, 2**31, -(2**31) - 1, 1.0, 1.5, True, None, [], ["a"], {}, ...]
)
@pytest.mark.parametrize(
    "kind", ["ID", "ID!", "String", "String!", "Int", "Int!", "Boolean", "Boolean!", "Int = 3", "Float", "[ID!]"]
)
def test_variables_are_coerced_as_by_graphql_core(kind: str, value: Any) -> None:
    schema, (operation, _) = core.core_schema(), operation_of(parse(f"query($v: {kind}, $w: Int) {{ __typename }}"))
    raw = {} if value is ... else {"v": value}

    def outcome(coerce: Any) -> Any:
        try:
            found = coerce(raw)
        except core.RefusedVariables as refused:
            return [error.message for error in refused.errors]
        sources = [(name, str(one.signature.type), one.value) for name, one in found.sources.items()]
        return [(name, type(value), value) for name, value in found.coerced.items()], sources

    assert outcome(core.Coercion(schema, operation).values) == outcome(
        lambda given: core.coerce_variables(schema, operation, given)
    )
