"""The rules of the house that no linter knows: sizes, names, and what must not stand in a tracked file."""

import ast
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES, MAX_FUNCTION = 400, 60
_REGISTRY = re.compile(
    r'"resolved": *"https?:'
    r"|--(?:extra-)?index-url[ =]"
    r"|registry *= *['\"]?https?:"
    r"|https?://[^ \"')]*[.](?:whl|tgz|tar[.]gz)\b"
    r"|\b(?:files[.]pythonhosted|registry[.]npmjs|registry[.]yarnpkg|pypi)[.](?:org|com)\b"
)
# Folders that exist on one machine; the path of an address may hold such a word.
_MACHINE = re.compile(r"(?<![A-Za-z0-9_.:-])/(?:work|root|farm)/")


@cache
def files() -> tuple[Path, ...]:
    """The files that are tracked, or would be."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("skipped: not a checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = listed.stdout.decode().split("\0")
    return tuple(path for name in names if name and (path := ROOT / name).is_file())


@cache
def modules() -> dict[Path, ast.Module]:
    """Every Python file that people wrote, parsed."""
    found = [path for path in files() if path.suffix == ".py" and "migrations" not in path.parts]
    return {path: ast.parse(path.read_bytes()) for path in found}


def functions() -> list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    return [
        (path, node)
        for path, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def text_files() -> list[tuple[str, str]]:
    """Name and text of the files that people wrote: bundles and notices of others are built or copied."""
    built = ("schema/http/static/",)
    found = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        content = path.read_bytes()
        if not name.startswith(built) and b"\0" not in content[:8000]:
            found.append((name, content.decode(errors="replace")))
    return found


def test_no_file_is_longer_than_one_can_keep_in_mind() -> None:
    sizes = {str(path.relative_to(ROOT)): path.read_bytes().count(b"\n") for path in modules()}

    assert {name: lines for name, lines in sizes.items() if lines > MAX_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, node in functions()
        if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
    ]

    assert long == []


def test_no_import_hides_in_a_function() -> None:
    hidden = [
        f"{path.relative_to(ROOT)}:{inner.lineno}"
        for path, node in functions()
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]

    assert hidden == []


def test_every_module_says_what_lives_in_it() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path, module in modules().items()
        if module.body and ast.get_docstring(module) is None
    ]

    assert silent == []


def test_nobody_else_owns_our_import_names() -> None:
    owners = packages_distributions()

    assert set(owners.get("backend", [])) <= {"driftgraph"}
    assert set(owners.get("schema", [])) <= {"driftgraph"}


def test_no_address_of_a_package_registry_is_tracked() -> None:
    found = [f"{name}: {match[0]}" for name, text in text_files() if (match := _REGISTRY.search(text))]

    assert found == []


def test_no_path_of_a_machine_is_tracked() -> None:
    found = [f"{name}: {match[0]}" for name, text in text_files() if (match := _MACHINE.search(text))]

    assert found == []


def test_no_test_takes_the_time() -> None:
    # A bound on seconds fails on a busy machine: tests count statements, locks, calls (counted_work.py).
    stopwatches = {"perf_counter", "perf_counter_ns", "process_time", "process_time_ns", "thread_time"}
    taken = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, module in modules().items()
        if path.is_relative_to(ROOT / "tests")
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute | ast.alias)
        and (node.attr if isinstance(node, ast.Attribute) else node.name) in stopwatches
    ]

    assert taken == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (_REGISTRY, "--index-" + "url https://example.org/simple"),
        (_REGISTRY, '"resolved": "' + 'https://example.org/a"'),
        (_REGISTRY, "https" + "://example.org/a-1.0-py3-none-any." + "whl"),
        (_REGISTRY, "https://files.python" + "hosted.org/packages"),
        (_MACHINE, 'DATA = "/' + 'work/main"'),
        (_MACHINE, "see (/" + "root/notes)"),
    ],
)
def test_the_patterns_find_what_they_look_for(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


@pytest.mark.parametrize("name", ["main", "dev"])
def test_every_dependency_has_its_reason(name: str) -> None:
    wanted = re.findall(r"^([a-z][a-z0-9-]*)", (ROOT / f"requirements/{name}.in").read_text(), re.MULTILINE)

    reasons = (ROOT / "docs/dependencies.md").read_text()
    explained = {word for row in re.findall(r"^\| ([^|]+) \|", reasons, re.MULTILINE) for word in re.split(r", ", row)}
    assert {package for package in wanted if not any(word.split("[")[0] == package for word in explained)} == set()


@pytest.mark.parametrize("name", ["main", "dev"])
def test_every_locked_version_has_its_hashes(name: str) -> None:
    lock = (ROOT / f"requirements/{name}.txt").read_text()

    pins = re.findall(r"^[a-z][^\n]*==[^\n]*\\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[A-Za-z]", lock, re.MULTILINE)) > 30
