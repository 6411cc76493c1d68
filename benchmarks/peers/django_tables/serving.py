"""Django's settings of a peer, and the middleware that makes a request the organization's."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

ORGANIZATION_HEADER = "X-Organization"


@sync_and_async_middleware
def tenant(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Runs a request in one transaction in which the database shows the rows of the organization in the header."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        with ExitStack() as block:
            _begin(block, request)
            response: HttpResponseBase = get_response(request)
        return response

    async def respond_asynchronously(request: HttpRequest) -> HttpResponseBase:
        # An asynchronous view stays on the event loop. Django has one thread, so one connection, for all that a request
        # calls synchronously, and the transaction is begun and ended there.
        block = ExitStack()
        try:
            await sync_to_async(_begin)(block, request)
            response: HttpResponseBase = await get_response(request)
        finally:
            await sync_to_async(block.close)()
        return response

    return respond_asynchronously if iscoroutinefunction(get_response) else respond


def _begin(block: ExitStack, request: HttpRequest) -> None:
    block.enter_context(transaction.atomic())
    with connection.cursor() as cursor:
        organization = request.headers.get(ORGANIZATION_HEADER, "")
        cursor.execute("SELECT set_config('app.organization_id', %s, true)", [organization])


def peer_settings(urlconf: str, *applications: str, prepared: bool = False) -> dict[str, Any]:
    """The settings of a Django project in production, with a pool of connections per process.

    Where it is `prepared`, connections keep prepared statements, which Django leaves out by default: psycopg prepares
    what PostgreSQL binds, from the second time on.
    """
    keeping = {"server_side_binding": True, "prepare_threshold": 1} if prepared else {}
    return {
        "DEBUG": False,
        "SECRET_KEY": "of a benchmark that serves this machine alone",
        "ALLOWED_HOSTS": ["127.0.0.1"],
        # The first two as in every new project; without content types the peers search for them in every request.
        "INSTALLED_APPS": ["django.contrib.auth", "django.contrib.contenttypes", *applications, "django_tables"],
        "MIDDLEWARE": ["django_tables.serving.tenant"],
        "ROOT_URLCONF": urlconf,
        "USE_TZ": True,
        "TIME_ZONE": "UTC",
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": os.environ["BENCH_DATABASE"],
                "USER": "app",
                "HOST": os.environ["BENCH_SOCKET"],
                "PORT": "5432",
                "OPTIONS": {"pool": {"min_size": 2, "max_size": int(os.environ["BENCH_POOL"])}, **keeping},
            }
        },
    }
