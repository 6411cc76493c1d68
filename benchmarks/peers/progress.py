"""How far long work is: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_EVERY_SECONDS = 10
_WIDTH = 150  # of what goes into a file: the tables of servers need it


def console() -> Console:
    """The terminal, or the file that output goes to."""
    found = Console()
    return found if found.is_terminal else Console(width=_WIDTH)


@contextmanager
def steps(total: int, shown: Console) -> Iterator[Callable[[str], None]]:
    """A function to be called with the name of each of so many steps when it begins."""
    columns = (TextColumn("{task.description:48}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    done, said = -1, time.monotonic()
    with Progress(*columns, TimeElapsedColumn(), console=shown, transient=True, disable=not shown.is_terminal) as bars:
        task = bars.add_task("", total=total)

        def begin(name: str) -> None:
            nonlocal done, said
            done += 1
            bars.update(task, description=name, completed=done)
            if not shown.is_terminal and time.monotonic() - said > _EVERY_SECONDS:
                shown.print(f"{100 * done // total:3} %  {name}", highlight=False)
                said = time.monotonic()

        yield begin
