"""Who runs a command, as far as the operating system knows."""

import getpass
import uuid
from dataclasses import replace

from backend.core.actor import Actor


def os_operator() -> str:
    """The account that the process runs under; empty where that has no name, as in containers."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""


def operator_actor(organization_id: uuid.UUID, purpose: str) -> Actor:
    """The product itself for one organization, whose entries name the account of the operating system if it has one."""
    actor, operator = Actor.system(organization_id, purpose), os_operator()
    return replace(actor, request_id=f"os:{operator}") if operator else actor
