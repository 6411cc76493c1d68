"""Builds small files of claim outcomes, and imports them."""

from pathlib import Path
from typing import Any

from backend.claims.models import Claim
from backend.claims.selectors import claims_current
from backend.claims.services import ImportOptions, ImportOutcome, import_file
from backend.core.actor import Actor
from backend.core.tenancy import acting_for

HEADER = (
    "claim_id,line_no,payer,procedure_code,procedure_group,submitted_date,decided_date,payment_date,outcome,"
    "billed_amount,allowed_amount,paid_amount,denial_code,authorization_required"
)


def row(number: int | str, **values: str) -> str:
    cells = {
        "claim_id": f"CLEAR-NUMBER-{number}",
        "line_no": "1",
        "payer": "Acme  Health",
        "procedure_code": "99213",
        "procedure_group": "OFFICE",
        "submitted_date": "2025-01-06",
        "decided_date": "2025-01-20",
        "payment_date": "2025-01-22",
        "outcome": "PAID",
        "billed_amount": "200.00",
        "allowed_amount": "150.00",
        "paid_amount": "150.00",
        "denial_code": "",
        "authorization_required": "true",
        **values,
    }
    return ",".join(cells[name] for name in HEADER.split(","))


PENDING = {
    "outcome": "PENDING", "decided_date": "", "payment_date": "", "allowed_amount": "", "paid_amount": ""
}  # fmt: skip


def csv_file(folder: Path, *rows: str, name: str = "claims.csv", header: str = HEADER) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def clp(number: int | str, status: str = "1", *, lines: int = 1, paid: str = "150") -> list[str]:
    segments = [f"CLP*CLEAR-NUMBER-{number}*{status}*{200 * lines}*{float(paid) * lines:g}**12*ICN{number}*11*1"]
    for _line in range(lines):
        sign = "-" if paid.startswith("-") else ""
        segments += [f"SVC*HC:99213*{sign}200*{paid}**1", f"CAS*CO*45*{sign}50"]
    if paid.startswith("-"):
        segments[0] = f"CLP*CLEAR-NUMBER-{number}*{status}*{-200 * lines}*{float(paid) * lines:g}**12*ICN{number}*11*1"
    return segments


def x12_file(
    folder: Path, *claims: list[str], day: str = "20250120", name: str = "a.835", payer: str = "Acme Health"
) -> Path:
    body = [
        "ST*835*0001",
        f"BPR*I*150*C*ACH*CCP*01*999999992*DA*123456*1512345678**01*999988880*DA*98765*{day}",
        "TRN*1*12345*1512345678",
        f"DTM*405*{day}",
        f"N1*PR*{payer}*XV*ACME1",
        "N1*PE*A HOSPITAL*XX*1234567893",
        "LX*1",
        *(segment for claim in claims for segment in claim),
    ]
    body.append(f"SE*{len(body) + 1}*0001")
    isa = f"ISA*00*{'':10}*00*{'':10}*ZZ*{'SENDER':15}*ZZ*{'RECEIVER':15}*250120*1200*^*00501*000000001*0*P*:"
    gs = "GS*HP*SENDER*RECEIVER*20250120*1200*1*X*005010X221A1"
    path = folder / name
    path.write_text("~".join([isa, gs, *body, "GE*1*1", "IEA*1*000000001"]) + "~", encoding="ascii")
    return path


def load(actor: Actor, path: Path, **options: Any) -> ImportOutcome:
    dry_run = options.pop("dry_run", False)
    return import_file(actor=actor, path=path, options=ImportOptions(**options), dry_run=dry_run)


def current(actor: Actor) -> list[Claim]:
    with acting_for(actor.organization_id):
        return list(claims_current().order_by("source_row_no", "line_no"))
