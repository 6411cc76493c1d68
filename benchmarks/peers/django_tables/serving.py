"""Django's settings of a peer, and the middleware that makes a request the organization's."""

import os
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponseBase

ORGANIZATION_HEADER = "X-Organization"


def tenant(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Runs a request in one transaction in which the database shows the rows of the organization in the header."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('app.organization_id', %s, true)", [request.headers.get(ORGANIZATION_HEADER, "")]
            )
            return get_response(request)

    return respond


def peer_settings(urlconf: str, *applications: str) -> dict[str, Any]:
    """The settings of a Django project in production, with a pool of connections per process."""
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
                "OPTIONS": {"pool": {"min_size": 2, "max_size": int(os.environ["BENCH_POOL"])}},
            }
        },
    }
