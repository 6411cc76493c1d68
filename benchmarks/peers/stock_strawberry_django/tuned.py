"""The same schema with what else is documented for speed: parsed and validated documents, prepared statements; WSGI."""

import os

import django
from django.conf import settings
from django_tables.serving import peer_settings

settings.configure(**peer_settings("tuned", "strawberry_django", prepared=True))
django.setup()

import strawberry
from django.core.wsgi import get_wsgi_application
from django.urls import path
from graph import ProcedureGroup, Query
from strawberry.django.views import GraphQLView
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry_django.optimizer import DjangoOptimizerExtension

schema = strawberry.Schema(
    Query,
    types=[ProcedureGroup],
    extensions=[ParserCache, ValidationCache, DjangoOptimizerExtension],
    config=StrawberryConfig(relay_max_results=int(os.environ["BENCH_MAX_PAGE"])),
)
urlpatterns = [path("graphql", GraphQLView.as_view(schema=schema, graphql_ide=None))]
app = get_wsgi_application()
