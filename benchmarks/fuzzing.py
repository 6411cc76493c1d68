"""`python -m benchmarks fuzzing`: Schemathesis asks every root field, well and badly, for as long as it may.

It fails at an answer of 5xx, at an error INTERNAL in any answer, and at one that shows how the server is made.
Schemathesis is a program of its own (`uv tool install schemathesis`, or `pipx`), found by PATH.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta

import django
import httpx

django.setup()

from django.core.management import call_command
from django.utils import timezone

from backend.accounts.models import Organization
from backend.accounts.services import token_create
from backend.config.env import BASE_DIR
from backend.core.actor import Actor, Role
from backend.demo.loading import demo_load
from benchmarks.serving import served


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of Schemathesis: 1 where it found something."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long it goes on")
    parser.add_argument("--examples", type=int, default=200, help="of each root field at a time")
    parser.add_argument("--seed", type=int, help="what is drawn; another each time if not given")
    options = parser.parse_args(arguments)
    program = shutil.which("schemathesis")
    if program is None:
        parser.error("schemathesis is not in PATH: uv tool install schemathesis")
    call_command("migrate", verbosity=0)
    demo_load(lambda *_: None)
    actor = Actor.system(Organization.objects.get().id, "benchmark")
    ends = timezone.now() + timedelta(hours=1)
    _, secret = token_create(actor=actor, name="fuzzing", role=Role.ADMIN, expires_at=ends)
    limits = dict.fromkeys(("DRIFTGRAPH_COST_PER_MINUTE", "DRIFTGRAPH_ORGANIZATION_COST_PER_MINUTE"), "1000000000")
    with served(limits) as server, tempfile.TemporaryDirectory(prefix="driftgraph-fuzzing-") as folder:
        command = [program, "run", str(BASE_DIR / "schema" / "schema.graphql")]
        command += ["--url", f"{server.url}/graphql", "--header", f"Authorization: Bearer {secret}", "--mode", "all"]
        command += ["--checks", "nothing_internal", "--continue-on-failure", "--no-color"]
        command += ["--max-time", str(options.seconds), "--max-examples", str(options.examples)]
        command += ["--seed", str(options.seed)] if options.seed is not None else []
        ids = {"DRIFTGRAPH_FUZZING_IDS": " ".join(_ids(server.url, secret))}
        hooks = {"SCHEMATHESIS_HOOKS": "benchmarks.internals", "PYTHONPATH": str(BASE_DIR), **ids}
        return subprocess.run(command, cwd=folder, env={**os.environ, **hooks}, check=False).returncode


def _ids(url: str, secret: str) -> list[str]:
    """The id of a row of each list of the demo organization."""
    lists = ("agentRuns", "alerts", "claims", "detectionRuns", "driftEvents", "findings", "importBatches", "payers")
    query = "{" + " ".join(f"{name}(first: 1) {{ nodes {{ id }} }}" for name in lists) + "}"
    headers = {"authorization": f"Bearer {secret}"}
    answer = httpx.post(f"{url}/graphql", json={"query": query}, headers=headers, timeout=60).json()
    return [node["id"] for page in answer["data"].values() for node in page["nodes"]]


if __name__ == "__main__":
    sys.exit(main())
