"""CPU time and memory of process trees, from /proc."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_KILO = 1024
_MEMORY = ("VmRSS", "VmHWM")
_PARENT, _CPU = 1, slice(11, 15)  # of the fields after the command's name: ppid; utime, stime, cutime, cstime


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold blanks and brackets; none once it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree(root: int) -> list[int]:
    """The process and all its descendants that live."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children[int(fields[_PARENT])].append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(children[pid])
    return found


def children(root: int) -> list[int]:
    """The processes that it started itself and that live."""
    return [pid for pid in tree(root) if (fields := _fields(pid)) and int(fields[_PARENT]) == root and fields[0] != "Z"]


def cpu_seconds(root: int) -> float:
    """User and system time that a tree has used, with that of its ended processes that were waited for."""
    ticks = sum(int(value) for pid in tree(root) for value in _fields(pid)[_CPU])
    return ticks / _TICKS


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a tree in MB."""

    worker: float  # its largest process
    worker_peak: float  # the most that this process ever had
    tree: float  # all its processes together; what they share is counted for each


def memory(root: int) -> Memory:
    """The resident memory of a tree."""
    found = []
    for pid in tree(root):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        kilobytes = {
            name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if name in _MEMORY
        }
        if len(kilobytes) == len(_MEMORY):  # a process that has ended but was not waited for has none
            found.append((kilobytes["VmRSS"] / _KILO, kilobytes["VmHWM"] / _KILO))
    worker, peak = max(found, default=(0.0, 0.0))
    return Memory(worker, peak, sum(resident for resident, _ in found))


def pin(root: int, cores: set[int]) -> None:
    """Keeps a tree, and what it will start, on some cores."""
    for pid in tree(root):
        os.sched_setaffinity(pid, cores)
