"""Everything that a member of one organization can try on another's rows, made from the schema and sent over HTTP.

The address is any that serves the schema: a server behind a pooler is tried just the same.
"""

import datetime
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from django.utils import timezone
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    Undefined,
    get_named_type,
    is_leaf_type,
)

from backend.accounts.models import ApiToken, EmergencyAccess, IdempotencyKey, Membership, Organization, User
from backend.accounts.services import secret_hash
from backend.agents.models import AgentRunProgress
from backend.audit.models import AuditEntry
from backend.claims.models import HashKey, OutcomeCount
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from backend.payers.models import PayerAlias
from backend.usage.models import SchemaUse
from schema.build import core_schema
from schema.relay.ids import encode_id
from tests import factories as make

logging.getLogger("httpx").setLevel(logging.WARNING)  # thousands of requests
_DEPTH = 3  # of objects below a root field
_FOR_EVERYBODY = ("cost", "viewer")  # who is signed in
_CSV = b"claim_id,payer,procedure_code,submitted_date,decided_date,outcome\nC1,acme,99213,2026-01-05,2026-01-20,PAID\n"
_SARIF = b'{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "t"}}, "results": []}]}'


@dataclass(frozen=True, slots=True)
class Member:
    """An organization with a row in every table, and a token with all rights there; `mark` stands in its names."""

    organization: Organization
    secret: str
    ids: dict[str, str]  # global ids by tag
    mark: str

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"}


def token(organization: Organization, secret: str, role: Role, *scopes: str) -> str:
    """The secret of a new token, as it is sent."""
    full = "dg_" + secret.ljust(43, "x")[:43]
    with acting_for(organization.id):
        ApiToken.objects.create(
            organization=organization,
            name=secret,
            hash=secret_hash(full),
            role=role,
            scopes=scopes,
            expires_at=timezone.now() + datetime.timedelta(days=1),
        )
    return full


def member(organization: Organization, mark: str) -> Member:
    """The organization with one row in every table of organizations."""
    keys = make.every_node(organization)
    with acting_for(organization.id):
        user = User.objects.create(email=f"{organization.id.hex}@example.org")
        Membership.objects.create(organization=organization, user=user, role=Role.ANALYST)
        EmergencyAccess.objects.create(
            organization=organization, user=user, role=Role.ADMIN, reason=f"because {mark}", expires_at=timezone.now()
        )
        IdempotencyKey.objects.create(
            organization=organization, principal=user.id, key=mark, request_hash=b"h", response={}
        )
        PayerAlias.objects.create(organization=organization, raw_name=f"alias {mark}", payer_id=keys["PY"])
        AuditEntry.objects.create(organization=organization, actor_role="OWNER", action=mark, object_type="payer")
        SchemaUse.objects.create(
            organization=organization,
            day=timezone.now().date(),
            coordinate="Query.payers",
            client_name=mark,
            client_version="1",
            uses=1,
        )
        HashKey.objects.create(organization=organization, ordinal=1, key_id="1", finished_at=make.NOW)
        AgentRunProgress.objects.create(organization=organization, run_id=keys["RU"], status="RUNNING", phase=mark)
        OutcomeCount.objects.create(
            organization=organization,
            payer_id=keys["PY"],
            procedure_code_id=keys["PC"],
            group_id=keys["PG"],
            measure="CLAIM_DENIAL",
            period_start=make.DAY,
            period_end=make.DAY,
            total=2,
            favourable=1,
            batch_id=keys["IB"],
            source_row_no=2,
        )
    everything = sorted(Actor(organization_id=organization.id, role=Role.OWNER).rights)
    secret = token(organization, f"{organization.id.hex}", Role.OWNER, *everything)
    return Member(organization, secret, {tag: encode_id(tag, key) for tag, key in keys.items()}, mark)


@dataclass(slots=True)
class Report:
    """What was tried, and what came through."""

    fields: set[str] = field(default_factory=set)
    mutations: set[str] = field(default_factory=set)
    attempts: int = 0
    crossed: list[str] = field(default_factory=list)
    unguarded: list[str] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)  # lists in which members do not see their own


def _selection(kind: Any, depth: int = _DEPTH) -> str:
    """The leaves of a type and of the objects below it; lists in their usual size."""
    named = get_named_type(kind)
    if is_leaf_type(named):
        return ""
    parts = ["__typename"]
    for name, one in getattr(named, "fields", {}).items():
        if any(isinstance(a.type, GraphQLNonNull) and a.default_value is Undefined for a in one.args.values()):
            continue
        below = get_named_type(one.type)
        if is_leaf_type(below):
            parts.append(name)
        elif depth > 0 and isinstance(below, GraphQLObjectType) and name != "edges":
            parts.append(f"{name} {_selection(below, depth - 1)}")
    return "{ " + " ".join(parts) + " }"


def _id_filters(kind: Any, depth: int = 2) -> Iterator[Any]:
    """Filters that name one id, with None in its place."""
    named = get_named_type(kind)
    if not isinstance(named, GraphQLInputObjectType) or depth < 0:
        if getattr(named, "name", "") == "ID":
            yield None
        return
    for name, one in named.fields.items():
        if name in ("and", "or", "not", "ne", "notIn"):
            continue
        for inner in _id_filters(one.type, depth - 1):
            yield {name: [inner] if isinstance(_nullable(one.type), GraphQLList) else inner}


def _nullable(kind: Any) -> Any:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


def _with(template: Any, value: str) -> Any:
    """A filter with an id in the place of None."""
    if isinstance(template, dict):
        return {name: _with(inner, value) for name, inner in template.items()}
    if isinstance(template, list):
        return [_with(inner, value) for inner in template]
    return value


_SAMPLES = {"rawName": "acme", "payerCode": "acme", "agent": "ruff", "fingerprint": make.digest("one").hex()}


def _inputs(kind: GraphQLInputObjectType, ids: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Inputs with what is required, and each id of the other organization wherever an id is taken."""
    base: dict[str, Any] = {}
    takes_id = []
    for name, one in kind.fields.items():
        named = get_named_type(one.type)
        if named.name == "ID":
            takes_id.append(name)
        elif isinstance(one.type, GraphQLNonNull) and one.default_value is Undefined:
            if named.name == "Upload":
                base[name] = None
            elif isinstance(named, GraphQLEnumType):
                base[name] = next(reversed(named.values))
            else:
                base[name] = _SAMPLES[name]
    if not takes_id:
        yield base
    for name in takes_id:
        for value in ids.values():
            yield {**base, name: value}


class Attempts:
    """Tries everything against one address."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http, self.report = http, Report()
        schema = core_schema()
        assert schema.query_type is not None
        assert schema.mutation_type is not None
        self.queries: dict[str, GraphQLField] = schema.query_type.fields
        self.mutations: dict[str, GraphQLField] = schema.mutation_type.fields

    async def _ask(
        self, headers: dict[str, str], name: str, kind: GraphQLField, arguments: dict[str, Any], *, deep: bool = True
    ) -> httpx.Response:
        word = "mutation" if name in self.mutations else "query"
        (self.report.mutations if word == "mutation" else self.report.fields).add(name)
        self.report.attempts += 1
        declared = ", ".join(f"${one}: {kind.args[one].type}" for one in arguments)
        given = ", ".join(f"{one}: ${one}" for one in arguments)
        selection = _selection(kind.type, _DEPTH if deep else 1)
        text = f"{word}{f'({declared})' if declared else ''} {{ {name}{f'({given})' if given else ''} {selection} }}"
        body = {"query": text, "variables": arguments}
        if "file" in arguments.get("input", {}):
            content = _SARIF if "Sarif" in name else _CSV
            form = {"operations": json.dumps(body), "map": '{"0": ["variables.input.file"]}'}
            return await self._http.post("/graphql", headers=headers, data=form, files={"0": ("a.txt", content)})
        return await self._http.post("/graphql", headers=headers, json=body)

    async def reach(self, own: Member, other: Member) -> None:
        """Reads and writes as a member of the first organization with everything that is known of the second."""
        for name, kind in self.queries.items():
            for arguments in self._reads(kind, other):
                self._judge(name, arguments, await self._ask(own.headers, name, kind, arguments), other)
            if "first" in kind.args:
                await self._pages(name, kind, own, other)
        for name, kind in self.mutations.items():
            for data in _inputs(get_named_type(kind.args["input"].type), other.ids):
                answer = await self._ask(own.headers, name, kind, {"input": data}, deep=False)
                self._judge(name, data, answer, other)

    def _reads(self, kind: GraphQLField, other: Member) -> Iterator[dict[str, Any]]:
        if not any(isinstance(a.type, GraphQLNonNull) and a.default_value is Undefined for a in kind.args.values()):
            yield {}
        for value in other.ids.values():
            if "id" in kind.args:
                yield {"id": value}
            if "ids" in kind.args:
                yield {"ids": [value]}
            if "detectionRunId" in kind.args:
                yield {"detectionRunId": value}
        if "filter" in kind.args and "detectionRunId" not in kind.args:
            for template in _id_filters(kind.args["filter"].type):
                for value in other.ids.values():
                    yield {"filter": _with(template, value)}

    async def _pages(self, name: str, kind: GraphQLField, own: Member, other: Member) -> None:
        """Lists with the other's cursors; members must see their own rows, or the test would be blind."""
        needs = {"detectionRunId": own.ids["DR"]} if "detectionRunId" in kind.args else {}
        theirs = {"detectionRunId": other.ids["DR"]} if needs else {}
        cursors = f"query($id: ID!) {{ {name}(detectionRunId: $id) {{ edges {{ cursor }} }} }}"
        text = cursors if needs else f"{{ {name} {{ edges {{ cursor }} }} }}"
        variables = {"id": other.ids["DR"]} if needs else {}
        found = await self._http.post("/graphql", headers=other.headers, json={"query": text, "variables": variables})
        edges = ((found.json().get("data") or {}).get(name) or {}).get("edges") or []
        if not edges:
            self.report.blind.append(name)
        mine = await self._ask(own.headers, name, kind, needs)
        self._judge(name, needs, mine, other)
        for edge in edges:
            for where in ("after", "before"):
                for parent in (needs, theirs) if needs else (needs,):
                    arguments = {**parent, where: edge["cursor"]}
                    self._judge(name, arguments, await self._ask(own.headers, name, kind, arguments), other)

    def _judge(self, name: str, sent: Any, answer: httpx.Response, other: Member) -> None:
        """Whether the answer shows anything of the other organization; its ids come back in no answer at all."""
        shown = [tag for tag, value in other.ids.items() if value in answer.text]
        if shown or other.mark in answer.text or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            self.report.crossed.append(f"{name}({json.dumps(sent)}) shows {shown}: {answer.status_code}")

    async def without_right(self, own: Member, powerless: str) -> None:
        """Asks for everything without credentials, and with a token that has no scope at all."""
        wanted = {"UNAUTHENTICATED": {}, "FORBIDDEN": {"authorization": f"Bearer {powerless}"}}
        for name, kind in {**self.queries, **self.mutations}.items():
            if name in self.mutations:
                arguments = {"input": next(_inputs(get_named_type(kind.args["input"].type), own.ids))}
            else:
                named = {
                    "id": own.ids["PY"],
                    "ids": [own.ids["PY"]],
                    "detectionRunId": own.ids["DR"],
                    "document": "{ __typename }",
                }
                arguments = {one: value for one, value in named.items() if one in kind.args}
            for code, headers in wanted.items():
                try:
                    answer = (await self._ask(headers, name, kind, arguments, deep=False)).json()
                except httpx.ReadError:  # a file without credentials is not read: the connection ends with the refusal
                    assert not headers
                    assert "file" in arguments["input"]
                    continue
                codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
                if code not in codes and not (name in _FOR_EVERYBODY and code == "FORBIDDEN"):
                    self.report.unguarded.append(f"{name}: {sorted(codes)} instead of {code}")
