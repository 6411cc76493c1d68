"""Who runs a command, as far as the operating system knows."""

import getpass


def os_operator() -> str:
    """The account that the process runs under; empty where that has no name, as in containers."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""
