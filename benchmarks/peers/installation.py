"""Installs the peers outside the repository's tree, each once per lock file."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.peers.database import bench_folder

HERE = Path(__file__).parent
NODE_MAJOR = 22
_DONE = ".installed"


class NotInstalled(Exception):
    """A peer could not be installed; says what is missing."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An installed peer."""

    folder: Path
    lock: str  # digest of what was installed
    program: Path  # the interpreter: python or node


def python_peer(name: str, console: Console) -> Installation:
    """A virtual environment with exactly what the peer's requirements.txt locks.

    Raises:
        NotInstalled: neither uv nor pip could install it.
    """
    requirements = HERE / name / "requirements.txt"
    folder, lock = _place(name, requirements)
    python = folder / "bin" / "python"
    if not (folder / _DONE).exists():
        console.print(f"Installing {name}")
        shutil.rmtree(folder, ignore_errors=True)
        uv = shutil.which("uv")
        if uv:
            _run([uv, "venv", "--quiet", "--python", sys.executable, folder], name)
            _run([uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", requirements], name)
        else:
            _run([sys.executable, "-m", "venv", folder], name)
            _run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", requirements], name)
        (folder / _DONE).touch()
    return Installation(folder, lock, python)


def node_peer(name: str, console: Console) -> Installation:
    """A folder with exactly what the peer's package-lock.json locks, Node itself included, and its server.

    Raises:
        NotInstalled: no npm, or the registry did not give what is locked.
    """
    source = HERE / name
    folder, lock = _place(name, source / "package-lock.json")
    if not (folder / _DONE).exists():
        npm = shutil.which("npm")
        if npm is None:
            raise NotInstalled(f"{name} needs npm (on Debian and Ubuntu: apt install npm).")
        console.print(f"Installing {name}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(source / file, folder)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"], name, cwd=folder)
        (folder / _DONE).touch()
    # Modules are searched for from where the program lies.
    shutil.copy(source / "server.mjs", folder)
    return Installation(folder, lock, _node(folder, name))


def _place(name: str, lock_file: Path) -> tuple[Path, str]:
    lock = hashlib.sha256(lock_file.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return bench_folder() / "peers" / f"{name}-{lock}", lock


def _node(folder: Path, name: str) -> Path:
    """The locked Node, or the machine's own where there is none for its platform."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    locked = folder / "node_modules" / f"node-{sys.platform}-{machine}" / "bin" / "node"
    if locked.exists():
        return locked
    found = shutil.which("node")
    if found is not None:
        version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
        if int(version.lstrip("v").split(".")[0]) >= NODE_MAJOR:
            return Path(found)
    raise NotInstalled(f"{name} needs Node {NODE_MAJOR} or later; none is locked for {sys.platform} on {machine}.")


def _run(command: Sequence[object], name: str, cwd: Path | None = None) -> None:
    arguments = [str(argument) for argument in command]
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    outcome = subprocess.run(arguments, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    if outcome.returncode != 0:
        said = (outcome.stderr or outcome.stdout).strip()[-1500:]
        raise NotInstalled(
            f"{name} could not be installed: is its package registry reachable from here?"
            f" Leave it out with --servers, or see what {Path(arguments[0]).name} said:\n{said}"
        )
