"""`python -m benchmarks COMMAND`: what can be measured, each command with options of its own (`--help`).

Times are of one machine at one moment: compare within a run, and quote medians and ratios.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """A module that is run as a program."""

    module: str
    says: str
    fresh_database: bool = False  # in a data directory that is removed afterwards


COMMANDS = {
    "peers": Command("benchmarks.peers.command", "Driftgraph beside other GraphQL servers over the same million rows"),
    "soak": Command(
        "benchmarks.soak.command", "mixed load by several organizations while processes die, every answer checked"
    ),
    "migrations": Command(
        "benchmarks.migrations.command", "32 changes of tables, naive and safe, as rehearsed", fresh_database=True
    ),
    "faults": Command(
        "benchmarks.faults.command", "what clients see of faults of PostgreSQL, and what is lost", fresh_database=True
    ),
    "live-migrations": Command(
        "benchmarks.next_release.command", "changes of a large table under traffic of two releases", fresh_database=True
    ),
    "measures": Command(
        "benchmarks.measures", "import, detection and paging on one file of claims", fresh_database=True
    ),
    "phi": Command("benchmarks.phi.evaluation", "recall and false positives of the scanner of free text"),
    "detection": Command("benchmarks.detection", "known changes found, and when, by weekly runs", fresh_database=True),
    "abuses": Command(
        "benchmarks.abuses", "what a server answers to abuses, and how long others wait", fresh_database=True
    ),
    "leaving": Command(
        "benchmarks.leaving", "how soon a statement is gone whose deadline or client is gone", fresh_database=True
    ),
    "fuzzing": Command(
        "benchmarks.fuzzing", "Schemathesis on every root field: no 5xx, nothing internal", fresh_database=True
    ),
    "auditing": Command("benchmarks.auditing", "what the audit trail costs imports and reads", fresh_database=True),
    "statements": Command("benchmarks.statements", "SQL statements beside naive resolvers", fresh_database=True),
}


def main() -> int:
    """The exit code of the command, 2 where there is none of that name."""
    name, *arguments = sys.argv[1:] or [""]
    if name not in COMMANDS:
        print("usage: python -m benchmarks COMMAND [options]\n")
        for known, command in COMMANDS.items():
            print(f"  {known:15} {command.says}")
        return 0 if name in ("-h", "--help") else 2
    command = COMMANDS[name]
    call = [sys.executable, "-m", command.module, *arguments]
    if not command.fresh_database:
        return _run(call, dict(os.environ))
    with tempfile.TemporaryDirectory(prefix="driftgraph-bench-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL runs as another account where we are root
        return _run(call, {**os.environ, "DRIFTGRAPH_DATA_DIR": folder})


def _run(call: list[str], environment: dict[str, str]) -> int:
    environment["DJANGO_SETTINGS_MODULE"] = "backend.config.settings"
    return subprocess.run(call, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
