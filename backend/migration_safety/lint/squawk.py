"""squawk, the linter of PostgreSQL's SQL: a program that is given text and answers in JSON."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "squawk-cli"
# Matters of taste, and the timeouts that migrate_safely sets for every migration.
EXCLUDED = (
    "ban-char-field",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-robust-stmts",
    "prefer-text-field",
    "require-lock-timeout",
    "require-statement-timeout",
    "require-timeout-settings",
)


class NoSquawk(Exception):
    """squawk is not installed beside this Python nor on the PATH; install squawk-cli."""


class Remark(NamedTuple):
    """What squawk says; `line` of the SQL from 0."""

    rule: str
    message: str
    line: int


def program() -> str | None:
    """The path of the program, or None."""
    beside = Path(sys.executable).parent
    return shutil.which("squawk", path=os.pathsep.join([str(beside), os.environ.get("PATH", os.defpath)]))


def remarks(sql: str, *, in_transaction: bool, version: str) -> Iterator[Remark]:
    """What squawk finds in the SQL of one migration for PostgreSQL of that version ("18.4").

    Raises:
        NoSquawk: it is not installed.
    """
    found = program()
    if found is None:
        raise NoSquawk(" ".join((NoSquawk.__doc__ or "").split()))
    done = subprocess.run(  # noqa: S603 - a linter, with constant arguments
        [
            found,
            "--reporter=json",
            f"--exclude={','.join(EXCLUDED)}",
            f"--pg-version={version}",
            "--assume-in-transaction" if in_transaction else "--no-assume-in-transaction",
            "--stdin-filepath=migration.sql",
        ],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.strip():
        raise RuntimeError(f"squawk ended with {done.returncode}: {done.stderr.strip()}")
    for item in json.loads(done.stdout):
        advice = f" {item['help']}" if item.get("help") else ""
        yield Remark(item["rule_name"], f"{item['message']}{advice}", item["line"])
