"""Writes payers, aliases, procedure codes and groups: what imports find in files, and what people map them to."""

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from django.db import connection

from backend.accounts.free_text import Screen
from backend.audit.services import record
from backend.core.actor import Actor, Right
from backend.core.errors import BadUserInput
from backend.core.ids import uuid7
from backend.core.tenancy import write
from backend.payers.models import Payer, PayerAlias
from backend.payers.signals import payer_replaced

OTHER_GROUP = "OTHER"
MAX_NAME_LENGTH = 200


def code_system_sql(code: str) -> str:
    """The SQL of the system that the form of a code tells: CPT, CDT, HCPCS, REV or OTHER.

    Source: CPT category I, II (F), III (T), MAAA (M) and PLA (U); CDT is section D of HCPCS; revenue codes have four
    digits.
    """
    return (
        f"CASE WHEN {code} ~ '^[0-9]{{4}}[0-9FTUM]$' THEN 'CPT' WHEN {code} ~ '^D[0-9]{{4}}$' THEN 'CDT'"
        f" WHEN {code} ~ '^[A-V][0-9]{{4}}$' THEN 'HCPCS' WHEN {code} ~ '^[0-9]{{4}}$' THEN 'REV' ELSE 'OTHER' END"
    )


_INSERT_PAYERS = """
INSERT INTO payer (id, organization_id, code, name, kind, active, mapped)
SELECT id, %s, code, name, 'OTHER', true, false FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS n(id, code, name)
ORDER BY code
ON CONFLICT (organization_id, code) DO NOTHING
"""
_INSERT_ALIASES = """
INSERT INTO payer_alias (id, organization_id, raw_name, payer_id)
SELECT n.id, %s, n.raw_name, p.id FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS n(id, raw_name, code)
JOIN payer p ON p.code = n.code
ORDER BY n.raw_name
ON CONFLICT (organization_id, raw_name) DO NOTHING
"""
_INSERT_GROUPS = """
INSERT INTO procedure_group (id, organization_id, code, name)
SELECT id, %s, code, code FROM unnest(%s::uuid[], %s::text[]) AS n(id, code) ORDER BY code
ON CONFLICT (organization_id, code) DO NOTHING
"""
_INSERT_CODES = f"""
INSERT INTO procedure_code (id, organization_id, system, code, group_id)
SELECT n.id, %s, {code_system_sql("n.code")}, n.code, g.id
FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS n(id, code, group_code)
JOIN procedure_group g ON g.code = n.group_code
ORDER BY 3, 4
ON CONFLICT (organization_id, system, code) DO NOTHING
"""


class BadPayerName(BadUserInput):
    """A payer's name and code need 1 to {limit} characters."""


class UnseenPayer(NamedTuple):
    """A payer's name that no alias knows yet."""

    raw_name: str  # case-folded
    name: str  # as written
    code: str | None  # X12 payer id


class UnseenCode(NamedTuple):
    """A procedure code that the organization has not used yet."""

    code: str
    group: str | None  # the group that the file gives it


@dataclass(frozen=True, slots=True)
class PayerMapping:
    """An alias, the payer it leads to, and how many rows moved there."""

    payer: Payer
    alias: PayerAlias
    moved: dict[str, int]  # kind of row -> number

    @property
    def claims_moved(self) -> int:
        """Claim lines, in their current version, that changed their payer."""
        return self.moved.get("claims", 0)


def alias_key(name: str) -> str:
    """A name as aliases store it: case-folded, blanks collapsed."""
    return " ".join(name.split()).casefold()


def payer_slug(raw_name: str) -> str:
    """The code of a payer of which only a name is known: letters and digits joined by hyphens."""
    slug = re.sub(r"[\W_]+", "-", raw_name).strip("-")
    return slug or f"payer-{hashlib.sha256(raw_name.encode()).hexdigest()[:8]}"


def organization_lock(organization_id: uuid.UUID) -> None:
    """Holds back other multi-statement writers of this organization's claims and payers until the transaction ends.

    SQL: 1.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"claims:{organization_id}"])


def payers_ensure(organization_id: uuid.UUID, unseen: Sequence[UnseenPayer]) -> None:
    """Creates an unmapped payer and an alias for each name, or only the alias where a payer has the code.

    SQL: 2; none without names.
    """
    if not unseen:
        return
    codes = [row.code or payer_slug(row.raw_name) for row in unseen]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_PAYERS, [organization_id, _ids(unseen), codes, [row.name for row in unseen]])
        cursor.execute(_INSERT_ALIASES, [organization_id, _ids(unseen), [row.raw_name for row in unseen], codes])


def groups_ensure(organization_id: uuid.UUID, codes: Sequence[str]) -> None:
    """Creates the groups that are missing; their names are their codes until somebody names them.

    SQL: 1; none without codes.
    """
    if not codes:
        return
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_GROUPS, [organization_id, _ids(codes), list(codes)])


def procedure_codes_ensure(organization_id: uuid.UUID, unseen: Sequence[UnseenCode]) -> None:
    """Creates the codes in the group that the file gives them, else in OTHER; the system is told by the form.

    SQL: 2; none without codes.
    """
    if not unseen:
        return
    groups = [row.group or OTHER_GROUP for row in unseen]
    groups_ensure(organization_id, sorted(set(groups)))
    with connection.cursor() as cursor:
        cursor.execute(_INSERT_CODES, [organization_id, _ids(unseen), [row.code for row in unseen], groups])


def payer_map(*, actor: Actor, raw_name: str, payer_code: str) -> PayerMapping:
    """The alias of a name, pointed at the payer with this code, which is created where there is none.

    Rows of the payer that an import had made from the name move along when no other name leads to it. Rows of a
    payer that somebody mapped, or that has other names, stay: a claim does not keep the name it came with.

    Raises:
        Forbidden: the actor may not map.
        BadPayerName: the name or code is empty or too long. IdentifiesPerson: it does.

    SQL: about 12, whatever the number of claims.
    """
    actor.require(Right.MAPPINGS)
    name, code = " ".join(raw_name.split()), payer_code.strip().casefold()
    for text, place in ((name, "raw_name"), (code, "payer_code")):
        if not 1 <= len(text) <= MAX_NAME_LENGTH:
            raise BadPayerName(limit=MAX_NAME_LENGTH, path=(place,))
    screen = Screen(actor)
    name = screen.of(name, "raw_name", with_names=False)
    code = screen.of(code, "payer_code", with_names=False).casefold()
    with write(actor):
        organization_lock(actor.organization_id)
        payer, created = Payer.objects.get_or_create(
            organization_id=actor.organization_id, code=code, defaults={"name": name, "mapped": True}
        )
        if not created and not (payer.mapped and payer.active):
            payer.mapped = payer.active = True
            payer.save(update_fields=["mapped", "active"])
        alias, moved = _point(actor, alias_key(name), payer)
        record(actor=actor, action="payers.map", object_type="payer", object_ids=[payer.id])
    return PayerMapping(payer=payer, alias=alias, moved=moved)


def _point(actor: Actor, raw_name: str, payer: Payer) -> tuple[PayerAlias, dict[str, int]]:
    alias = PayerAlias.objects.select_related("payer").filter(raw_name=raw_name).first()
    if alias is None:
        alias = PayerAlias.objects.create(organization_id=actor.organization_id, raw_name=raw_name, payer=payer)
        return alias, {}
    old = alias.payer
    if old.id == payer.id:
        return alias, {}
    alias.payer = payer
    alias.save(update_fields=["payer"])
    if old.mapped or PayerAlias.objects.filter(payer_id=old.id).exists():
        return alias, {}
    moved: dict[str, int] = {}
    for _receiver, counts in payer_replaced.send(sender=Payer, old_id=old.id, new_id=payer.id):
        moved |= cast("dict[str, int]", counts)
    old.active = False
    old.save(update_fields=["active"])
    return alias, moved


def _ids(rows: Sequence[object]) -> list[uuid.UUID]:
    return [uuid7() for _ in rows]
