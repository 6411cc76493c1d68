"""The application in the process of the test, without a socket."""

import datetime

import httpx
from django.utils import timezone

from backend.accounts.models import Organization
from backend.accounts.services import token_create
from backend.core.actor import Actor, Role
from backend.db.reads import Reads
from backend.db.writes import WriteThreads
from schema.http.app import GraphQLApp


def asking(reads: Reads, writes: WriteThreads) -> httpx.AsyncClient:
    """A client of the application, to be entered."""
    transport = httpx.ASGITransport(app=GraphQLApp(reads, writes))  # type: ignore[arg-type]  # ASGI dictionaries
    return httpx.AsyncClient(transport=transport, base_url="http://testserver")


def bearer(organization: Organization, name: str = "token") -> dict[str, str]:
    """The header of a new administrator's token."""
    ends = timezone.now() + datetime.timedelta(days=1)
    actor = Actor.system(organization.id, "test")
    _, secret = token_create(actor=actor, name=name, role=Role.ADMIN, expires_at=ends)
    return {"authorization": f"Bearer {secret}"}
