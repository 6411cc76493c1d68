"""The root of all reads: what can be listed, found by id, and who asks."""

import asyncio
from typing import Annotated, Any

import strawberry
import strawberry_django
from django.conf import settings

from backend.accounts import models as accounts
from backend.core.actor import Right, Role
from backend.core.errors import Forbidden, LimitExceeded
from schema.context import Context, context_of
from schema.cost.budgets import party_of
from schema.cost.directives import Cost, ListSize, sized_by
from schema.cost.dry_run import OperationCost, operation_cost
from schema.declare import column, opaque_id, resolver, root_list, root_node, root_row
from schema.declared_field import load_node
from schema.filters.agents import AgentFilter, AgentRunFilter, FindingStateFilter
from schema.filters.audit import AuditEntryFilter
from schema.filters.claims import ClaimFilter, ImportBatchFilter
from schema.filters.drift import DetectionRunFilter, DriftEventFilter, DriftTestFilter
from schema.filters.payers import PayerFilter
from schema.relay.connection import Connection
from schema.relay.ids import MalformedId, decode_id
from schema.relay.node import Node, NodeKinds
from schema.types import agents as agent_types
from schema.types import alerts as alert_types
from schema.types import audit as audit_types
from schema.types import claims as claim_types
from schema.types import drift as drift_types
from schema.types import payers as payer_types
from schema.types import usage as usage_types
from schema.types.access_review import AccessReview, AccessReviewFilter, access_review


@strawberry_django.type(
    accounts.Organization, name="Organization", description="The organization that the token or session belongs to."
)
class Organization:
    id: strawberry.ID = opaque_id("OR", "Opaque id of the organization.")
    name: str = column("Name; unique on the platform.", "name")
    timezone: str = column("Time zone, such as America/Chicago.", "timezone")
    retention_days: int = column("How long claim lines are kept, in days.", "retention_days")


@strawberry.type(description="Who asks.")
class Viewer:
    role: Role = strawberry.field(description="What the principal may do.")
    rights: list[str] = strawberry.field(description="The rights that follow, such as claims:read; at most 13.")
    organization: Organization = strawberry.field(description="The tenant.")


async def _node(context: Context, text: str) -> Any:
    """The object behind a global id, None without one, or as a value the error that stands at its place in a list."""
    try:
        return await load_node(context, *decode_id(text))
    except (MalformedId, Forbidden) as error:
        return error


@strawberry.type(description="Everything that can be read. Every list is a page of the caller's own organization.")
class Query:
    agents: Connection[agent_types.Agent] = root_list(
        "Automated auditors.", agent_types.AGENTS, right=Right.AGENTS_READ, filter_type=AgentFilter
    )
    agent_run: agent_types.AgentRun | None = root_row("An agent run by id; null if there is none.", "RU")
    agent_runs: Connection[agent_types.AgentRun] = root_list(
        "Runs of automated auditors.", agent_types.RUNS, right=Right.AGENTS_READ, filter_type=AgentRunFilter
    )
    alerts: Connection[alert_types.Alert] = root_list("Alerts raised by rules.", alert_types.ALERTS, right=Right.READ)
    audit_entries: Connection[audit_types.AuditEntry] = root_list(
        "Who did and saw what. For owners, administrators and auditors.",
        audit_types.ENTRIES,
        right=Right.AUDIT_READ,
        filter_type=AuditEntryFilter,
    )
    claims: Connection[claim_types.Claim] = root_list(
        "Current versions of claim lines. PHI.", claim_types.CLAIMS, right=Right.CLAIMS_READ, filter_type=ClaimFilter
    )
    data_quality: Connection[claim_types.QualityReport] = root_list(
        "How far each import can be trusted.", claim_types.QUALITY, right=claim_types.IMPORTS_READ
    )
    detection_run: drift_types.DetectionRun | None = root_row("A detection run by id; null if there is none.", "DR")
    detection_runs: Connection[drift_types.DetectionRun] = root_list(
        "Executions of the detectors.",
        drift_types.RUNS,
        right=drift_types.RUNS_READ,
        filter_type=DetectionRunFilter,
    )
    drift_event: drift_types.DriftEvent | None = root_row("A drift event by id; null if there is none.", "DE")
    drift_events: Connection[drift_types.DriftEvent] = root_list(
        "Changes of payers, as episodes.", drift_types.EVENTS, right=Right.READ, filter_type=DriftEventFilter
    )
    drift_tests: Connection[drift_types.DriftTest] = root_list(
        "The tests of a detection run: why something was flagged, and why not.",
        drift_types.RUN_TESTS,
        right=drift_types.RUNS_READ,
        filter_type=DriftTestFilter,
        parent="DR",
    )
    findings: Connection[agent_types.FindingState] = root_list(
        "Findings across runs, with their triage.",
        agent_types.FINDINGS,
        right=Right.AGENTS_READ,
        filter_type=FindingStateFilter,
    )
    import_batches: Connection[claim_types.ImportBatch] = root_list(
        "Imported files.", claim_types.BATCHES, right=claim_types.IMPORTS_READ, filter_type=ImportBatchFilter
    )
    node: Node | None = root_node(
        "Any object by its global id; null if the organization has none. Needs the right to read objects of its type."
    )
    payers: Connection[payer_types.Payer] = root_list(
        "Payers of the organization.", payer_types.PAYERS, right=Right.READ, filter_type=PayerFilter
    )

    @resolver(
        "Who looked at claim lines in a period, for reviews of access. For owners, administrators and auditors; asking"
        " makes an audit entry. At most 92 days (DRIFTGRAPH_MAX_REVIEW_DAYS).",
        right=Right.AUDIT_READ,
        directives=(Cost(weight="500"),),
        statements=2,
    )
    @staticmethod
    async def access_review(
        info: strawberry.Info,
        filter: Annotated[  # noqa: A002 - the argument's name in the schema
            AccessReviewFilter | None,
            strawberry.argument(description="The period; null: 30 days, the last of them today."),
        ] = None,
    ) -> AccessReview:
        return await access_review(context_of(info), filter)

    @resolver(
        "Objects by their global ids, in the order asked for; null where there is none. An id that is malformed, or of"
        " a type that the caller has no right to read, gives null and an error at its place; the others are answered.",
        right=None,
        directives=(Cost(weight="4"), sized_by("ids")),
        statements=len(NodeKinds.by_tag),
    )
    @staticmethod
    async def nodes(
        info: strawberry.Info,
        ids: Annotated[
            list[strawberry.ID],
            strawberry.argument(description="Opaque global ids, at most 100, and 500 in an operation."),
        ],
    ) -> list[Node | None]:
        context, limits = context_of(info), settings.ENVIRONMENT
        context.ids += len(ids)
        for what, actual, setting in (
            ("The list ids", len(ids), "max_input_items"),
            ("The number of ids of the operation, up to this list,", context.ids, "max_operation_ids"),
        ):
            if actual > (limit := getattr(limits, setting)):
                raise LimitExceeded(what=what, actual=actual, limit=limit, setting=f"DRIFTGRAPH_{setting.upper()}")
        return list(await asyncio.gather(*(_node(context, one) for one in ids)))

    @resolver(
        "What an operation would cost, field by field; it is not executed. docs/limits.md says how costs come about.",
        right=None,
        directives=(Cost(weight="500"),),
    )
    @staticmethod
    async def cost(
        info: strawberry.Info,
        document: Annotated[str, strawberry.argument(description="The document, as it would be sent.")],
        variables: Annotated[
            str | None, strawberry.argument(description="Values of its variables: a JSON object as text; null: none.")
        ] = None,
        operation_name: Annotated[
            str | None, strawberry.argument(description="Which operation is meant; null if it is the only one.")
        ] = None,
    ) -> OperationCost:
        schema = info.schema._schema  # noqa: SLF001 - Strawberry's documented way to it
        context = context_of(info)
        party = party_of(context.actor, "")
        return await operation_cost(schema, document, variables, operation_name, turns=context.turns, party=party)

    @resolver(
        "Which client of the organization used which part of the schema, deprecated parts first, then the most used; at"
        " most 100 lines. Requests of the last minute may be missing. For owners and administrators.",
        right=Right.MEMBERS,
        directives=(ListSize(assumed_size=usage_types.MAX_LINES, require_one_slicing_argument=False),),
        statements=1,
    )
    @staticmethod
    async def schema_usage(
        info: strawberry.Info,
        days: Annotated[
            int, strawberry.argument(description="Days up to today, in UTC; 1 to 3,660, but no more are kept than set.")
        ] = 30,
        part: Annotated[
            str | None,
            strawberry.argument(
                description="A coordinate, with all that is below it: Payer is its fields too, Query.payers its"
                " arguments; null: everything."
            ),
        ] = None,
        deprecated_only: Annotated[
            bool, strawberry.argument(description="Whether what is not deprecated is left out.")
        ] = False,
    ) -> list[usage_types.SchemaUse]:
        schema = info.schema._schema  # noqa: SLF001 - Strawberry's documented way to it
        return await usage_types.schema_uses(schema, context_of(info), days, part, deprecated_only)

    @resolver("Who asks, with which rights, for which organization.", right=None, statements=1)
    @staticmethod
    async def viewer(info: strawberry.Info) -> Viewer:
        context = context_of(info)
        actor = context.actor
        columns = context.columns.get(accounts.Organization)
        organization = await context.loaders.row(accounts.Organization, actor.organization_id, columns)
        return Viewer(role=actor.role, rights=sorted(actor.rights), organization=organization)
