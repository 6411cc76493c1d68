"""Synthetic claims for tests of detection, inserted by one statement; the same in every run."""

import hashlib
from dataclasses import dataclass, field
from datetime import date

from django.db import connection

from backend.accounts.models import Organization
from backend.claims.models import BatchKind, BatchStatus, ImportBatch
from backend.core.tenancy import acting_for
from backend.payers.models import CodeSystem, Payer, ProcedureCode, ProcedureGroup

LAST = date(2025, 6, 29)
_INSERT = """
INSERT INTO claim (id, organization_id, claim_key, line_no, payer_id, procedure_code_id, group_id, modifiers,
                   submitted_on, decided_on, outcome, billed_cents, allowed_cents, paid_cents, auth_required,
                   denial_carc, rarc, auth_denial, batch_id, source_row_no, row_sha256, version)
SELECT gen_random_uuid(), %(organization)s, substr(sha256(key::bytea), 1, 16), 1, %(payer)s, code_id, group_id, '{}',
       day - 7, day, outcome, 20000, CASE WHEN outcome = 'DENIED' THEN 0 ELSE 10000 END,
       CASE outcome WHEN 'PAID' THEN 10000 WHEN 'PARTIAL' THEN 6000 ELSE 0 END, auth,
       CASE WHEN outcome <> 'DENIED' THEN NULL WHEN auth AND third < 0.5 THEN '197' ELSE '50' END, '{}',
       outcome = 'DENIED' AND auth AND third < 0.5, %(batch)s, 1, sha256(key::bytea), 1
  FROM (SELECT *, CASE WHEN first < rate THEN 'DENIED' WHEN second < 0.05 THEN 'PARTIAL' ELSE 'PAID' END AS outcome,
               third < 0.6 AS auth
          FROM (SELECT concat_ws('/', %(payer)s, code.id, day, i) AS key, code.id AS code_id, code.group_id,
                       day::date AS day,
                       CASE WHEN day >= %(changed)s THEN %(changed_rate)s ELSE %(rate)s END AS rate,
                       (hashtextextended(seed, 1) & 1048575) / 1048576.0 AS first,
                       (hashtextextended(seed, 2) & 1048575) / 1048576.0 AS second,
                       (hashtextextended(seed, 3) & 1048575) / 1048576.0 AS third
                  FROM procedure_code AS code,
                       generate_series(%(start)s::timestamp, %(last)s::timestamp, interval '1 day') AS day,
                       generate_series(1, %(per_day)s) AS i,
                       concat_ws('/', %(payer_no)s, code.code, day, i) AS seed) AS drawn) AS decided
"""


@dataclass
class Clinic:
    """What `seed_claims` made."""

    organization: Organization
    batch: ImportBatch
    payers: list[Payer] = field(default_factory=list)
    groups: list[ProcedureGroup] = field(default_factory=list)


def new_batch(organization: Organization, name: str, kind: BatchKind = BatchKind.CSV) -> ImportBatch:
    return ImportBatch.objects.create(
        organization=organization,
        kind=kind,
        filename="x.csv",
        file_sha256=hashlib.sha256(name.encode()).digest(),
        file_bytes=1,
        status=BatchStatus.LOADED,
    )


def seed_codes(organization: Organization) -> list[ProcedureGroup]:
    groups = [ProcedureGroup.objects.create(organization=organization, code=f"G{i}", name=f"G{i}") for i in range(2)]
    for i in range(4):
        ProcedureCode.objects.create(
            organization=organization, code=f"9900{i}", system=CodeSystem.CPT, group=groups[i // 2]
        )
    return groups


def seed_claims(
    organization: Organization,
    *,
    payers: int = 3,
    changed: date | None = None,
    changed_rate: float = 0.4,
    rate: float = 0.1,
    per_day: int = 3,
    start: date = date(2025, 1, 1),
    last: date = LAST,
) -> Clinic:
    """Payers with 4 codes in 2 groups, `per_day` claims a day and code; the first payer's denials change."""
    with acting_for(organization.id), connection.cursor() as cursor:
        clinic = Clinic(organization, new_batch(organization, "claims"), groups=seed_codes(organization))
        for number in range(payers):
            payer = Payer.objects.create(organization=organization, code=f"p{number}", name=f"Payer {number}")
            clinic.payers.append(payer)
            cursor.execute(
                _INSERT,
                {
                    "organization": organization.id,
                    "payer": payer.id,
                    "payer_no": number,
                    "batch": clinic.batch.id,
                    "start": start,
                    "last": last,
                    "per_day": per_day,
                    "rate": rate,
                    "changed": changed if number == 0 and changed else date(2100, 1, 1),
                    "changed_rate": changed_rate,
                },
            )
    return clinic
