"""The abuses of `python -m benchmarks abuses`: requests that are small to send and meant to be costly to answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from graphql import get_introspection_query

_BOMB = 30


@dataclass(frozen=True, slots=True)
class Abuse:
    """What is sent; the number makes each text a new one, so that none is answered from what is remembered."""

    name: str
    body: Callable[[int], str | bytes]
    method: str = "POST"
    clients: int = 1
    """That send it at once, each a text of its own; more than one are not signed in, and the second client asks what
    the server does not know yet."""


def _query(name: str, text: str, **more: object) -> Abuse:
    return Abuse(name, lambda number: json.dumps({"query": f"{text}\n# {number}", **more}))


def _raw(name: str, content: str) -> Abuse:
    return Abuse(name, lambda number: content + " " * number)


def _fragments(count: int, body: Callable[[int], str]) -> str:
    return "".join(f" fragment f{number} on Query {{ {body(number)} }}" for number in range(count))


def _many(count: int, form: str, between: str = " ") -> str:
    return between.join(form.format(number) for number in range(count))


def _flood(name: str, text: str) -> Abuse:
    return Abuse(name, lambda number: json.dumps({"query": f"{text}\n# {number}"}), clients=50)


def _prices(name: str, count: int, documents: int) -> Abuse:
    declared = _many(documents, "$d{}: String!")
    aliases = " ".join(f"a{number}: cost(document: $d{number % documents}) {{ requested }}" for number in range(count))

    def body(number: int) -> str:
        variables = {f"d{one}": f"{{ {'payers{nodes{id}}' * 48} }} # {number}.{one}" for one in range(documents)}
        return json.dumps({"query": f"query({declared}) {{ {aliases} }}", "variables": variables})

    return Abuse(name, body)


_INTROSPECTION = "fields { type { " * 5 + "name" + " } }" * 5
_TYPES = "types { fields(includeDeprecated: true) { args { name description type { name } } name description } }"
_FILTER = "query($f: DriftEventFilter) { driftEvents(filter: $f) { nodes { id } } }"
_FINISH = "mutation($f: AgentRunFinishInput!) { agentRunFinish(input: $f) { userErrors { message } } }"
_FINDING = {**dict.fromkeys(("rule", "tool", "title", "message", "path"), "x"), "severity": "LOW", "startLine": 1}
_NODES = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
ABUSES = (
    _query(
        f"fragment bomb of {_BOMB} levels",
        "{ ...f0 }"
        + _fragments(_BOMB, lambda number: f"...f{number + 1} ...f{number + 1}")
        + f" fragment f{_BOMB} on Query {{ __typename }}",
    ),
    _query("circular fragments", "{ ...f0 }" + _fragments(2, lambda number: f"...f{1 - number}")),
    _query("circle of 200 fragments", "{ ...f0 }" + _fragments(200, lambda number: f"...f{(number + 1) % 200}")),
    _query(
        "fragments that overlap",
        f"{{ {_many(30, '...f{}')} }}"
        + _fragments(30, lambda _: "agents { nodes { id name version } } payers { nodes { id } }"),
    ),
    _query("100,000 times __typename", f"{{ {'__typename ' * 100_000}}}"),
    _query("3,000 overlapping fields", f"{{ {'payers{nodes{id}}' * 3_000} }}"),
    _query("250 overlapping fields", f"{{ {'payers{nodes{id}}' * 250} }}"),
    _query("600 aliases", f"{{ {_many(600, 'a{}: __typename')} }}"),
    _query("50 aliases of a large page", f"{{ {_many(50, 'a{}: claims(first: 100) {{ nodes {{ id }} }}')} }}"),
    _query("900 directives", f"{{ __typename {'@a ' * 900} }}"),
    _query("10,000 variables", f"query({_many(10_000, '$v{}: Int')}) {{ __typename }}"),
    _query("5,000 operations", _many(5_000, "query q{} {{ __typename }}"), operationName="q1"),
    _query("1,900 unknown fields", f"{{ {_many(1_900, 'payerz{}')} }}"),
    _query("600 unknown arguments", f"{{ payers({_many(600, 'firzt{}: 1')}) {{ nodes {{ id }} }} }}"),
    _query("100 levels", "{ a " * 100 + "}" * 100),
    _query("5,000 levels", "{ a " * 5_000),
    _query("2,000 lists in a value", f"{{ payers(first: {'[' * 2_000}"),
    _query("text of 900 kB in the document", f'{{ payers(after: "{"a" * 900_000}") {{ nodes {{ id }} }} }}'),
    _query("comment of 900 kB", "#" + "a" * 900_000 + "\n{ __typename }"),
    _query("introspection in a circle", f"{{ __schema {{ types {{ {_INTROSPECTION} }} }} }}"),
    _query("10,000 ids", _NODES, variables={"ids": ["x"] * 10_000}),
    _query(
        "50 aliases of 100 malformed ids",
        f"query($ids: [ID!]!) {{ {_many(50, 'a{}: nodes(ids: $ids) {{ id }}')} }}",
        variables={"ids": ["x"] * 100},
    ),
    _prices("50 prices of a document", 50, 1),
    _prices("19 prices of different documents", 19, 19),
    _query(
        "50 aliases of introspection",
        f"{{ {_many(50, 'a{}: __schema {{ ...s }}')} }} fragment s on __Schema {{ {_TYPES} }}",
    ),
    _query("introspection of tools", get_introspection_query()),
    _flood("50 strangers with 990 unknown fields each", f"{{ {_many(990, 'payerz{}')} }}"),
    _flood("50 strangers with short documents", f"{{ {_many(10, '...on Payer{}{{id}}', '')} }}"),
    _flood("50 strangers with new documents", f"{{ {'payers{nodes{id}}' * 48} }}"),
    _query("filter of 6,000 alternatives", _FILTER, variables={"f": {"or": [{"status": {"eq": "OPEN"}}] * 6_000}}),
    _query("filter of 600 alternatives", _FILTER, variables={"f": {"or": [{"status": {"eq": "OPEN"}}] * 600}}),
    _query("2,400 findings by a stranger", _FINISH, variables={"f": {"id": "x", "findings": [_FINDING] * 2_400}}),
    _query("190,000 ids", _NODES, variables={"ids": ["x"] * 190_000}),
    _query("900 kB of brackets", _NODES, variables={"ids": [[]] * 220_000}),
    _raw("1,000 levels of JSON", '{"query": "{__typename}", "variables": {"a": ' + "[" * 1_000 + "]" * 1_000 + "}}"),
    _raw("100,000 levels of JSON", '{"query": ' + "[" * 100_000),
    _raw("number of 5,000 digits", '{"query": "{__typename}", "variables": {"a": ' + "9" * 5_000 + "}}"),
    _raw("batch of 1,000", "[" + ",".join(['{"query": "{__typename}"}'] * 1_000) + "]"),
    _raw("body of 2 MB", " " * 2_000_000),
    Abuse(
        "mutation by GET",
        lambda number: f'mutation {{ a{number}: payerMap(input: {{rawName: "a", payerCode: "b"}}) {{ __typename }} }}',
        "GET",
    ),
)
