"""The Makefile and the scripts around it, as far as they can be tried without installing anything."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def an_environment(folder: Path) -> Path:
    """A virtual environment in which everything is installed, going by its stamps."""
    (folder / "bin").mkdir(parents=True)
    for name in ("bin/python", ".installed-main", ".installed-dev"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "target", ["serve", "test", "check", "tooling", "bench", "sdl", "graphiql", "requirements", "clean"]
)
def test_help_lists_every_target(target: str) -> None:
    listed = make()

    assert listed.returncode == 0
    assert f"  make {target} " in listed.stdout


def test_the_readme_lists_every_command() -> None:
    commands = {
        path.stem
        for path in ROOT.glob("**/management/commands/[a-z]*.py")
        if path.relative_to(ROOT).parts[0] in {"backend", "schema"}
    }
    text = (ROOT / "README.md").read_text()

    assert len(commands) >= 10
    assert {name for name in commands if f"python manage.py {name}" not in text} == set()


def test_nothing_is_installed_twice(tmp_path: Path) -> None:
    environment = an_environment(tmp_path / "venv")

    again = make("--dry-run", f"VENV={environment}", "install-dev")

    assert again.returncode == 0, again.stderr
    assert "pip" not in again.stdout


@pytest.mark.parametrize(
    ("lock", "installed"), [("requirements/dev.txt", ["dev"]), ("requirements/main.txt", ["main", "dev"])]
)
def test_a_changed_lock_is_installed(tmp_path: Path, lock: str, installed: list[str]) -> None:
    environment = an_environment(tmp_path / "venv")

    plan = make("--dry-run", f"VENV={environment}", "--what-if", lock, "install-dev")

    assert "--require-hashes" in plan.stdout
    assert [name for name in ("main", "dev") if f"touch {environment}/.installed-{name}" in plan.stdout] == installed


def test_an_old_python_is_refused_with_a_reason(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("python3", "python", "python3.11", "python3.12", "python3.13", "python3.14"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)

    refused = make(f"VENV={tmp_path / 'venv'}", "install", PATH=f"{tools}:/usr/bin:/bin", PYTHON="")

    assert refused.returncode != 0
    assert "Python 3.11 or later is needed" in refused.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(("given", "since"), [([], "--since"), (["SINCE=v1.2"], "--since v1.2")])
def test_a_check_reads_and_rehearses_the_migrations_that_are_not_released(
    tmp_path: Path, given: list[str], since: str
) -> None:
    plan = make("--dry-run", f"VENV={an_environment(tmp_path / 'venv')}", *given, "check").stdout.splitlines()

    steps = [line.strip().removeprefix(f"{tmp_path}/venv/bin/python manage.py ") for line in plan]
    assert {f"lint_migrations {since}", f"rehearse_migrations {since}"} <= set(steps)


def test_the_hook_reads_migrations_and_reports() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]

    (hook,) = [hook for hook in hooks if hook["id"] == "lint-migrations"]
    assert hook["entry"].endswith("manage.py lint_migrations --since --report")
    assert re.search(hook["files"], "backend/drift/migrations/0001_initial.py")


def test_the_proof_reads_no_input_and_runs_both_halves() -> None:
    script = (ROOT / ".ci/run").read_text()

    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert subprocess.run(["bash", "-n", ".ci/run"], cwd=ROOT, check=False).returncode == 0
    assert "set -euo pipefail" in script
    assert "exec </dev/null" in script
    assert script.index("check") < script.rindex("JOBS=2 test")


@pytest.mark.parametrize(
    ("version", "said"),
    [("", "SKIPPED"), ("18.20.1", "SKIPPED"), ("20.19.0", "made tooling"), ("24.1.0", "made tooling")],
)
def test_the_proof_says_whether_the_tools_of_front_ends_ran(tmp_path: Path, version: str, said: str) -> None:
    script = (ROOT / ".ci/run").read_text()
    (tmp_path / "make").write_text('#!/bin/sh\necho "made $1"\n')
    if version:
        (tmp_path / "node").write_text(f"#!/bin/sh\necho v{version}\n")
        (tmp_path / "npm").write_text("#!/bin/sh\n")
    for tool in tmp_path.iterdir():
        tool.chmod(0o755)

    last = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script[script.index("# The tools of front ends") :]],
        env={"PATH": str(tmp_path), "venv": ".venv"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert last.stdout.startswith(said)


def test_pre_commit_downloads_nothing() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

    assert [repository["repo"] for repository in repositories] == ["local"]
    assert {hook["language"] for repository in repositories for hook in repository["hooks"]} == {"system"}
