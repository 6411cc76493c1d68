"""Stock strawberry-django, as its guide sets it up: optimizer extension, Relay nodes, cursor connections, ASGI."""

import os

import django
from django.conf import settings
from django_tables.serving import peer_settings

settings.configure(**peer_settings("app", "strawberry_django"))
django.setup()

import strawberry
from django.core.asgi import get_asgi_application
from django.urls import path
from graph import ProcedureGroup, Query
from strawberry.django.views import AsyncGraphQLView
from strawberry.schema.config import StrawberryConfig
from strawberry_django.optimizer import DjangoOptimizerExtension

schema = strawberry.Schema(
    Query,
    types=[ProcedureGroup],
    extensions=[DjangoOptimizerExtension],
    config=StrawberryConfig(relay_max_results=int(os.environ["BENCH_MAX_PAGE"])),
)
urlpatterns = [path("graphql", AsyncGraphQLView.as_view(schema=schema, graphql_ide=None))]
app = get_asgi_application()
