"""The documentation of errors and limits names what there is, and nothing else."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from backend.config.env import Environment
from backend.core.errors import AppError
from schema.build import core_schema
from schema.http.asgi import Application

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "tests" / "clients"
CODE = re.compile(r"^[A-Z]+(_[A-Z]+)*$")


def _kinds(kind: type[AppError]) -> Iterator[type[AppError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def _literal_codes(file: Path) -> Iterator[str]:
    """The codes that stand in HttpError(status, CODE, ...) and in what presents errors."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HttpError" and len(node.args) > 1:
            if isinstance(node.args[1], ast.Constant):
                yield node.args[1].value
        elif file.name == "errors.py" and isinstance(node, ast.Constant) and CODE.match(str(node.value)):
            yield node.value


def test_every_code_is_documented_and_no_other() -> None:
    assert core_schema() is not None, Application  # everything that defines an error is imported
    codes = {kind.code for kind in _kinds(AppError)}
    for file in [ROOT / "schema" / "errors.py", *(ROOT / "schema" / "http").glob("*.py")]:
        codes |= set(_literal_codes(file))
    text = (ROOT / "docs" / "errors.md").read_text()
    documented = re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE)

    assert len(documented) == len(set(documented))
    assert set(documented) == codes
    assert {"GRAPHQL_PARSE_FAILED", "COST_EXCEEDED", "RATE_LIMITED", "INTERNAL"} <= codes


def test_every_limit_is_documented_with_its_default() -> None:
    text = (ROOT / "docs" / "limits.md").read_text()
    rows = re.findall(r"\| ([\d,]+) \| `DRIFTGRAPH_([A-Z_]+)` \|$", text, re.MULTILINE)
    documented = {name.lower(): int(value.replace(",", "")) for value, name in rows}
    defaults = {field.name: field.default for field in dataclasses.fields(Environment)}

    assert documented == {name: defaults[name] for name in documented}
    limits = {name for name in defaults if name.startswith(("max_query_", "max_json_")) or "cost" in name}
    assert limits <= set(documented)


def test_every_setting_that_is_named_exists() -> None:
    names = {f"DRIFTGRAPH_{field.name.upper()}" for field in dataclasses.fields(Environment)}
    for name in ("errors.md", "limits.md", "subscriptions.md"):
        named = set(re.findall(r"DRIFTGRAPH_[A-Z_]+", (ROOT / "docs" / name).read_text()))
        assert named <= names


def test_the_examples_of_clients_are_those_that_are_run() -> None:
    region = re.compile(r"^(?:#|//) <(\w+)>\n(.*?)\n(?:#|//) </\1>$", re.MULTILINE | re.DOTALL)
    scripts = [path for kind in ("*.mjs", "*.py", "*.sh", "relay/*.js") for path in EXAMPLES.glob(kind)]
    run = {
        (path.relative_to(EXAMPLES).as_posix(), name): text.strip()
        for path in scripts
        for name, text in region.findall(path.read_text())
    }
    shown = re.findall(
        r"^<!-- (\S+): (\w+) -->\n```\w+\n(.*?)\n```$", (ROOT / "docs/clients.md").read_text(), re.MULTILINE | re.DOTALL
    )

    assert {(file, name): text for file, name, text in shown} == run
    assert len(shown) == len(run) > 10
