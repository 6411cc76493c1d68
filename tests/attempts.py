"""Everything that a member of one organization can try on another's rows, made from the schema and sent over HTTP.

The address is any that serves the schema: a server behind a pooler is tried just the same. Each attempt has a control:
the same document as the rows' own organization must answer them, for what shows nothing to anybody proves nothing.
"""

import asyncio
import datetime
import json
import logging
import uuid
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from django.utils import timezone

from backend.accounts.models import ApiToken, EmergencyAccess, IdempotencyKey, Membership, Organization, User
from backend.accounts.services import secret_hash
from backend.agents.models import AgentRunProgress
from backend.audit.models import AuditEntry
from backend.claims.models import Claim, HashKey, OutcomeCount
from backend.core.actor import Actor, Role
from backend.core.tenancy import acting_for
from backend.drift.models import DetectionRun, DriftEvent, DriftTest
from backend.payers.models import Payer, PayerAlias
from backend.usage.models import SchemaUse
from schema.relay.ids import decode_id, encode_id
from tests import factories as make
from tests.documents import Document, document, follows, reads, roots, simplest, writes

logging.getLogger("httpx").setLevel(logging.WARNING)  # thousands of requests
_FOR_EVERYBODY = ("cost", "viewer")  # who is signed in
_WITHOUT_ROWS = ("cost",)
_ANSWERS = {"NOT_FOUND", "BAD_USER_INPUT", "INVALID_CURSOR", "CONFLICT"}  # of the data; all others come before it
_AT_ONCE = 6  # requests, or pairs of them
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

    def shown(self, answer: httpx.Response) -> list[str]:
        """What of the organization stands in an answer: ids, plain keys as the audit trail has them, names."""
        keys = {f"key of {tag}": str(decode_id(value)[1]) for tag, value in self.ids.items()}
        names = {"OR": encode_id("OR", self.organization.id), "mark": self.mark, "token": self.organization.id.hex}
        return [tag for tag, value in {**self.ids, **keys, **names}.items() if value in answer.text]


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
        for table, key in {"audit_entry": keys["AE"], "user_account": user.id}.items():
            AuditEntry.objects.create(
                organization=organization,
                actor_id=user.id,
                actor_role="OWNER",
                action=mark,
                object_type=table,
                object_ids=[key],
            )
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
        _relate(keys)
    everything = sorted(Actor(organization_id=organization.id, role=Role.OWNER).rights)
    secret = token(organization, f"{organization.id.hex}", Role.OWNER, *everything)
    with acting_for(organization.id):
        keys |= {"US": user.id, "TK": ApiToken.objects.get(name=organization.id.hex).id}
    return Member(organization, secret, {tag: encode_id(tag, key) for tag, key in keys.items()}, mark)


def _relate(keys: dict[str, uuid.UUID]) -> None:
    """The rows to one another, so that every filter by an id finds something."""
    DriftTest.objects.filter(pk=keys["DT"]).update(level="PAYER_GROUP", group_id=keys["PG"])
    DriftEvent.objects.filter(pk=keys["DE"]).update(group_id=keys["PG"], current_end=make.DAY.replace(day=31))
    Claim.objects.filter(pk=keys["CL"]).update(outcome="DENIED")
    payer, run = Payer.objects.get(pk=keys["PY"]), DetectionRun.objects.get(pk=keys["DR"])
    make.drift_event(payer, run, parent_id=keys["DE"])


@dataclass(slots=True)
class Report:
    """What was tried, and what came through."""

    roots: set[tuple[str, str]] = field(default_factory=set)  # operation and root field
    attempts: int = 0
    controls: int = 0  # in which the rows' own organization was answered otherwise
    crossed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # before the data was asked
    unguarded: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)  # that showed the rows' own organization nothing either
    places: set[str] = field(default_factory=set)
    proven: set[str] = field(default_factory=set)

    @property
    def blind(self) -> list[str]:
        """Places in which no attempt had a control."""
        return sorted(self.places - self.proven)

    def __str__(self) -> str:
        """The figures."""
        count = {one: len([root for root in self.roots if root[0] == one]) for one in ("query", "mutation")}
        return (
            f"{count['query']} root fields, {count['mutation']} mutations, {len(self.roots) - sum(count.values())}"
            f" subscriptions, {self.attempts} attempts, {self.controls} controls in {len(self.proven)} places,"
            f" {len(self.crossed)} crossed, {len(self.refused)} refused,"
            f" {len(self.unproven)} unproven, {len(self.blind)} places blind, {len(self.unguarded)} unguarded"
        )


def _codes(answer: httpx.Response) -> set[str]:
    """The codes of all errors in an answer, userErrors among them."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line.removeprefix("data:").strip() for line in answer.text.splitlines() if line.startswith("data:")]
        bodies = [json.loads(line) for line in lines if line]
    else:
        bodies = [answer.json()]
    found = {error["extensions"]["code"] for body in bodies for error in body.get("errors", ())}
    payloads = [one for body in bodies for one in (body.get("data") or {}).values() if isinstance(one, dict)]
    return found | {error["code"] for payload in payloads for error in payload.get("userErrors", ())}


class Attempts:
    """Tries everything against one address; `names` are the root fields, or None for all."""

    def __init__(self, http: httpx.AsyncClient, names: set[str] | None = None) -> None:
        self._http, self.report = http, Report()
        self._names = names
        self._written: list[tuple[Document, Member, set[str]]] = []
        self._unfit: set[tuple[str, str]] = set()  # places and types of ids that they do not take

    async def read(self, own: Member, other: Member) -> None:
        """Asks as a member of the first organization for everything that is known of the second, and as the second."""
        await _together(self._read(one, own, other) for one in self._chosen([*reads(other.ids), *follows(other.ids)]))
        lists = [name for name, kind in roots("query").items() if "after" in kind.args]
        await _together(self._cursors(name, own, other) for name in lists if self._names is None or name in self._names)

    async def write(self, own: Member, other: Member) -> None:
        """Changes as a member of the first organization whatever is known of the second."""
        for one in self._chosen(writes(other.ids)):
            codes = _codes(await self._answer(one, own, other))
            self._written.append((one, other, codes))
            if not codes and not one.tag:
                self._prove(one, other)

    async def control_writes(self) -> None:
        """The second organization is told otherwise about its own rows; this changes them."""
        for one, other, codes in self._written:
            if codes == {"NOT_FOUND"}:
                self._settle(one, other, proven="NOT_FOUND" not in _codes(await self._ask(one, other.headers)))
        self._written.clear()

    async def without_right(self, own: Member, powerless: str) -> None:
        """Asks for everything without credentials, and with a token that has no scope at all."""
        wanted = {"UNAUTHENTICATED": {}, "FORBIDDEN": {"authorization": f"Bearer {powerless}"}}
        every = [
            simplest(kind, name, own.ids) for kind in ("query", "mutation", "subscription") for name in roots(kind)
        ]
        for one in self._chosen(every):
            for code, headers in wanted.items():
                self.report.attempts += 1
                try:
                    codes = _codes(await self._ask(one, headers))
                except httpx.ReadError:  # a file without credentials is not read: the connection ends with the refusal
                    assert not headers
                    assert "file" in one.arguments["input"]
                    continue
                if code not in codes and not (one.name in _FOR_EVERYBODY and code == "FORBIDDEN"):
                    self.report.unguarded.append(f"{one.name}: {sorted(codes)} instead of {code}")

    def _chosen(self, found: Iterable[Document]) -> Iterator[Document]:
        named = (one for one in found if self._names is None or one.name in self._names)
        return (one for one in named if (one.where, one.tag) not in self._unfit)

    async def _read(self, one: Document, own: Member, other: Member) -> None:
        codes = _codes(await self._answer(one, own, other))
        if one.tag and "BAD_USER_INPUT" in codes:
            self._unfit.add((one.where, one.tag))
            return
        control = await self._ask(one, other.headers)
        self._judge(one, control, other, own)
        self._settle(one, other, proven=bool(other.shown(control)) or one.name in _WITHOUT_ROWS)

    async def _cursors(self, name: str, own: Member, other: Member) -> None:
        """Lists from a cursor of the other: on one of its sides members see rows of their own."""
        has_parent = "detectionRunId" in roots("query")[name].args
        parents = [{"detectionRunId": one.ids["DR"]} if has_parent else {} for one in (own, other)]
        whole = await self._ask(document("query", name, "", parents[1]), other.headers)
        page = (whole.json().get("data") or {}).get(name) or {"pageInfo": {}}
        for where in ("after", "before"):
            for parent in parents if has_parent else parents[:1]:
                cursor = {where: page["pageInfo"].get("startCursor")}
                one = document("query", name, "cursor", {**parent, **cursor})
                answer = await self._answer(one, own, other)
                if own.shown(answer) and cursor[where]:
                    self._prove(one, other)

    async def _answer(self, one: Document, own: Member, other: Member) -> httpx.Response:
        answer = await self._ask(one, own.headers)
        self.report.attempts += 1
        self.report.places.add(f"{one.where} of {other.mark}")
        self._judge(one, answer, own, other)
        return answer

    def _judge(self, one: Document, answer: httpx.Response, own: Member, other: Member) -> None:
        """Whether an answer to the first organization shows anything of the second; not even ids asked for come back.

        Nor may it be refused for what is not the data, as a cost: then nothing was tried.
        """
        shown, codes = other.shown(answer), _codes(answer)
        if shown or answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            self.report.crossed.append(f"{one} shows {own.mark} {shown}: {answer.status_code}")
        if codes - _ANSWERS:
            self.report.refused.append(f"{one} as {own.mark}: {sorted(codes)}")

    def _settle(self, one: Document, other: Member, *, proven: bool) -> None:
        if proven:
            self._prove(one, other)
        else:
            self.report.unproven.append(f"{one} of {other.mark}")

    def _prove(self, one: Document, other: Member) -> None:
        self.report.controls += 1
        self.report.proven.add(f"{one.where} of {other.mark}")

    async def _ask(self, one: Document, headers: dict[str, str]) -> httpx.Response:
        self.report.roots.add((one.operation, one.name))
        body = {"query": one.text, "variables": one.arguments}
        if one.operation == "subscription":
            headers = {**headers, "accept": "text/event-stream"}
        if "file" in one.arguments.get("input", {}):
            content = _SARIF if "Sarif" in one.name else _CSV
            form = {"operations": json.dumps(body), "map": '{"0": ["variables.input.file"]}'}
            return await self._http.post("/graphql", headers=headers, data=form, files={"0": ("a.txt", content)})
        return await self._http.post("/graphql", headers=headers, json=body)


async def _together(all_: Iterable[Coroutine[Any, Any, None]]) -> None:
    """A few at a time."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one_of_them(one: Coroutine[Any, Any, None]) -> None:
        async with places:
            await one

    await asyncio.gather(*map(one_of_them, all_))
