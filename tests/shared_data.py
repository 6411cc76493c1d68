"""Public files that stand beside the checkout, in ../shared/data, where they are there: they are no part of it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

REPORT = "prior-auth/wa-oic-prior-authorization-2020-2023.csv"
REPORT_COLUMNS = {
    "payer": "Carrier",
    "procedure_code": "Code",
    "procedure_group": "Service category",
    "total": "Number of requests per code",
    "rate": "Approval rate",
}
"""Where the report of Washington State has the fields of outcome counts."""


def shared_file(name: str) -> Path:
    """The path of a shared file; a test that asks for one that is not there is skipped."""
    path = SHARED / name
    if not path.exists():
        pytest.skip("no shared data")
    return path
