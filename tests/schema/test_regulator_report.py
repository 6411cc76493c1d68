"""A regulator's report as input: imported by command, a year against the one before, read back through GraphQL."""

import csv
from collections import defaultdict
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command

from backend.accounts.models import Organization
from backend.claims.models import ImportBatch, OutcomeCount
from backend.core.tenancy import acting_for
from tests.api import Api
from tests.shared_data import REPORT, REPORT_COLUMNS, shared_file
from tests.threads import in_thread

EVENTS = """{ driftEvents(first: 100, filter: {source: {eq: OUTCOME_COUNTS}}) { nodes {
  driftType direction payer { name } group { name } baselineValue currentValue qValue n0 n1 baselineStart currentStart
  revenueAtRisk30d changeOn evidence { topProcedures { code } } } } }"""


class Figure(NamedTuple):
    total: int
    approved: int


def _imported(path: Path, organization: Organization) -> None:
    words = [word for field, header in REPORT_COLUMNS.items() for word in ("--column", f"{field}={header}")]
    skip = ["--skip", "Request=initially denied", "--measure", "AUTHORIZATION_APPROVAL"]
    call_command("import_claims", str(path), "--organization", organization.name, *words, *skip, stdout=StringIO())


def _detected(organization: Organization) -> None:
    span = ["--from", "2020-01-01", "--to", "2023-12-31"]
    call_command("detect", "--organization", organization.name, "--source", "outcome-counts", *span)


def _figures(path: Path, carrier: str, category: str, year: int) -> dict[str, Figure]:
    """By code: the largest of the figures that the report gives under several headings."""
    found: defaultdict[str, Figure] = defaultdict(lambda: Figure(0, 0))
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            ours = (row["Carrier"], row["Service category"], row["Year"]) == (carrier, category, str(year))
            if ours and "initially denied" not in row["Request"].lower():
                total = int(row["Number of requests per code"].replace(",", ""))
                figure = Figure(total, int(total * float(row["Approval rate"]) + 0.5))
                found[row["Code"].upper()] = max(found[row["Code"].upper()], figure)
    return {code: figure for code, figure in found.items() if figure.total}


def _compared(path: Path, event: dict[str, Any]) -> tuple[int, int, float, float]:
    """Requests and approval rates of both years over one mix of codes, from the report itself."""
    before, now = (
        _figures(path, event["payer"]["name"], event["group"]["name"], int(event[start][:4]))
        for start in ("baselineStart", "currentStart")
    )
    pairs = [(before[code], now[code]) for code in before.keys() & now.keys()]
    weights = [a.total * b.total / (a.total + b.total) for a, b in pairs]
    n0, n1 = (sum(pair[i].total for pair in pairs) for i in (0, 1))
    rates = [
        sum(w * pair[i].approved / pair[i].total for w, pair in zip(weights, pairs, strict=True)) / sum(weights)
        for i in (0, 1)
    ]
    return n0, n1, rates[0], rates[1]


async def test_the_report_of_washington_state_is_read_compared_and_served(organization: Organization, api: Api) -> None:
    path = shared_file(REPORT)

    await in_thread(_imported, path, organization)
    await in_thread(_imported, path, organization)
    await in_thread(_detected, organization)
    events = (await api.data(EVENTS))["driftEvents"]["nodes"]

    def stored() -> tuple[list[tuple[int, ...]], int, int]:
        with acting_for(organization.id):
            counts = ("rows_total", "rows_accepted", "rows_duplicate", "rows_rejected")
            years = OutcomeCount.objects.values("period_start").distinct().count()
            return list(ImportBatch.objects.values_list(*counts)), OutcomeCount.objects.count(), years

    batches, figures, years = await in_thread(stored)
    assert batches == [(5898, 4098, 1093, 707)]
    assert (figures, years) == (4098, 4)

    strongest = min(events, key=lambda event: event["qValue"])
    assert (strongest["payer"]["name"], strongest["group"]["name"]) == ("Carrier M", "Outpatient Med-Surg")
    assert (strongest["driftType"], strongest["direction"], strongest["baselineStart"]) == (
        "APPROVAL_RATE",
        "UP",
        "2020-01-01",
    )
    n0, n1, baseline, current = _compared(path, strongest)
    assert (strongest["n0"], strongest["n1"]) == (n0, n1)
    assert strongest["baselineValue"] == pytest.approx(baseline)
    assert strongest["currentValue"] == pytest.approx(current)
    codes = {procedure["code"] for procedure in strongest["evidence"]["topProcedures"]}
    assert codes <= _figures(path, "Carrier M", "Outpatient Med-Surg", 2021).keys()
    assert all((event["changeOn"], float(event["revenueAtRisk30d"])) == (None, 0) for event in events)
