"""Object types of alert rules and alerts."""

import datetime
from decimal import Decimal

import strawberry
import strawberry_django

from backend.alerts import models
from backend.alerts.models import AlertStatus
from backend.core.actor import Right
from backend.drift.models import DriftEvent as DriftEventRow
from backend.drift.models import DriftType, Severity
from schema.declare import column, global_id, money, orders, to_one
from schema.relay.keyset import Order
from schema.relay.node import Node
from schema.relay.pages import ListSource
from schema.types.drift import DriftEvent


@strawberry_django.type(
    models.AlertRule, name="AlertRule", description="Which drift events deserve an alert; an empty list means any."
)
class AlertRule(Node):
    id: strawberry.ID = global_id("AR", models.AlertRule, "AlertRule", right=Right.READ)
    name: str = column("Name; unique in the organization.", "name")
    drift_types: list[DriftType] = column("Types of drift, at most six; empty: any.", "drift_types")
    min_severity: Severity = column("The least severity.", "min_severity")
    min_confidence: float = column("The least confidence, 0 to 1.", "min_confidence")
    min_revenue: Decimal = money("The least revenue at risk in 30 days, USD.", "min_revenue_cents")
    harmful_only: bool = column("Whether changes for the better are left out.", "harmful_only")
    require_confirmed: bool = column("Whether the watch list is left out.", "require_confirmed")
    enabled: bool = column("Whether the rule is in force.", "enabled")


@strawberry_django.type(models.Alert, name="Alert", description="A drift event that a rule calls attention to.")
class Alert(Node):
    id: strawberry.ID = global_id("AL", models.Alert, "Alert", right=Right.READ)
    event: DriftEvent = to_one("The drift event.", "event_id", DriftEventRow)
    rule: AlertRule = to_one("The rule.", "rule_id", models.AlertRule)
    status: AlertStatus = column("Where the alert stands.", "status")
    severity: Severity = column("Severity of the event when the alert was raised.", "severity")
    reason: str = column("Why it was held back; empty if it was not.", "reason")
    created_at: datetime.datetime = column("When it was raised.", "created_at")
    acknowledged_at: datetime.datetime | None = column("When somebody took it; null until then.", "acknowledged_at")
    resolved_at: datetime.datetime | None = column("When its event was over; null until then.", "resolved_at")


AlertOrder = orders(
    "AlertOrder", Order("SEVERITY_DESC", ("severity",), descending=True, description="The most severe first.")
)
ALERTS = ListSource("alerts", models.Alert, models.Alert.objects.all, AlertOrder, AlertOrder.SEVERITY_DESC)
