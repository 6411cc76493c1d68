"""Graphene-Django with its query optimizer, as their guides set them up: Relay nodes and connections, Django's view."""

import os
from typing import Any

import django
from django.conf import settings
from django_tables.serving import peer_settings

settings.configure(
    **peer_settings("app", "graphene_django", prepared=True),
    GRAPHENE={"RELAY_CONNECTION_MAX_LIMIT": int(os.environ["BENCH_MAX_PAGE"])},
)
django.setup()

import graphene
from django.core.wsgi import get_wsgi_application
from django.urls import path
from django_tables import models
from graphene import relay
from graphene_django.views import GraphQLView
from query_optimizer import DjangoConnectionField, DjangoObjectType


class Payer(DjangoObjectType):
    """Who decides and pays claims."""

    class Meta:
        model = models.Payer
        interfaces = (relay.Node,)
        fields = ["code", "name", "kind", "active"]


class ProcedureGroup(DjangoObjectType):
    """A customer's group of procedure codes."""

    class Meta:
        model = models.ProcedureGroup
        interfaces = (relay.Node,)
        fields = ["code", "name"]


class DetectionRun(DjangoObjectType):
    """One execution of the detectors."""

    class Meta:
        model = models.DetectionRun
        interfaces = (relay.Node,)
        fields = ["as_of", "kind", "status", "tests_total", "tests_significant"]


class DriftEvent(DjangoObjectType):
    """A change of a payer."""

    class Meta:
        model = models.DriftEvent
        interfaces = (relay.Node,)
        fields = [
            *("drift_type", "payer", "group", "direction", "harmful", "status", "unit", "baseline_value"),
            *("current_value", "delta", "ci_low", "ci_high", "q_value", "severity", "n1", "first_seen_on"),
            *("change_on", "revenue_cents"),
        ]


class Finding(DjangoObjectType):
    """One thing that a run reports."""

    class Meta:
        model = models.Finding
        interfaces = (relay.Node,)
        fields = ["rule", "tool", "severity", "title", "path", "start_line", "start_column", "cwe", "suppressed"]


class Agent(DjangoObjectType):
    """An automated auditor."""

    class Meta:
        model = models.Agent
        interfaces = (relay.Node,)
        fields = ["kind", "name", "version"]


class AgentRun(DjangoObjectType):
    """One execution of an auditor."""

    findings = DjangoConnectionField(Finding)

    class Meta:
        model = models.AgentRun
        interfaces = (relay.Node,)
        fields = [
            *("trigger", "status", "conclusion", "branch", "critical_count", "high_count", "started_at", "finished_at"),
            *("duration_ms", "findings"),
        ]


class Query(graphene.ObjectType):
    """The root."""

    node = relay.Node.Field()
    drift_event = relay.Node.Field(DriftEvent)
    drift_events = DjangoConnectionField(DriftEvent)
    agents = DjangoConnectionField(Agent)
    agent_runs = DjangoConnectionField(AgentRun)
    payers = DjangoConnectionField(Payer)
    detection_runs = DjangoConnectionField(DetectionRun)


schema: Any = graphene.Schema(query=Query)
urlpatterns = [path("graphql", GraphQLView.as_view(schema=schema, graphiql=False))]
app = get_wsgi_application()
