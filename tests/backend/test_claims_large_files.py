"""Files of hundreds of megabytes, by the command: refused by code, without taking memory for them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend.accounts.models import Organization
from backend.claims.models import ImportBatch
from backend.core.tenancy import acting_for
from tests import server
from tests.serving import PEAK_IS_KNOWN, peak_bytes

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE, SIZE = 1_000_000, 500_000_000
HEADER = b"claim_id,payer,procedure_code,submitted_date,decided_date,outcome\n"
# Not by getrusage, whose peak a process inherits from the one that began it.
PROGRAM = """
import sys
from django.core.management import execute_from_command_line
try:
    execute_from_command_line(["manage.py", "import_claims", *sys.argv[1:]])
finally:
    print(open("/proc/self/status").read())
"""


def _hole(path: Path) -> None:
    path.write_bytes(HEADER)
    os.truncate(path, SIZE)


def _one_line(path: Path) -> None:
    with path.open("wb") as file:
        file.write(HEADER)
        for _ in range(200):
            file.write(b"x" * MEGABYTE)


@PEAK_IS_KNOWN
@pytest.mark.parametrize(
    ("make", "limit", "message"),
    [
        (_hole, "400000000", "DRIFTGRAPH_MAX_IMPORT_BYTES"),
        (_hole, "", "E904"),
        (_one_line, "", "TRUNCATED"),
    ],
    ids=["500 MB, over the limit", "500 MB of zeros", "200 MB without a line end"],
)
def test_a_large_file_is_refused_in_little_memory(
    organization: Organization,
    database: str,
    tmp_path: Path,
    make: Callable[[Path], None],
    limit: str,
    message: str,
) -> None:
    file = tmp_path / "large.csv"
    make(file)
    variables = {"DRIFTGRAPH_DATABASE_URL": server.url("app", database), "DRIFTGRAPH_MAX_IMPORT_BYTES": limit}

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(file), "--organization", organization.name],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "backend.config.settings", "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    file.unlink()

    assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    assert peak_bytes(done.stdout) < 400 * MEGABYTE
    with acting_for(organization.id):
        assert [batch.status for batch in ImportBatch.objects.all()] == ["REJECTED"] * (make is _one_line)
