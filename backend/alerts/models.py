"""Tables of alert rules and of the alerts they raise."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from backend.core.constraints import OrderIndex, check, one_of
from backend.core.tenant_models import TenantForeignKey, TenantModel
from backend.drift.models import Direction, DriftType, Severity


class AlertRule(TenantModel):
    """Which drift events deserve an alert; an empty list means any."""

    name = models.TextField()
    drift_types = ArrayField(models.TextField(choices=DriftType.choices), default=list)
    payer_ids = ArrayField(models.UUIDField(), default=list)
    group_ids = ArrayField(models.UUIDField(), default=list)
    directions = ArrayField(models.TextField(choices=Direction.choices), default=list)
    min_severity = models.SmallIntegerField(choices=Severity.choices, default=Severity.LOW)
    min_confidence = models.FloatField(default=0)
    min_revenue_cents = models.BigIntegerField(default=0)
    harmful_only = models.BooleanField(default=True)
    require_confirmed = models.BooleanField(default=True)
    enabled = models.BooleanField(default=True)
    priority = models.SmallIntegerField(default=100)

    class Meta:
        db_table = "alert_rule"
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="alert_rule_name_uq"),
            one_of("alert_rule", "min_severity", Severity),
            check("alert_rule", "min_confidence", Q(min_confidence__gte=0, min_confidence__lte=1)),
            check("alert_rule", "drift_types", Q(drift_types__contained_by=DriftType.values)),
            check("alert_rule", "directions", Q(directions__contained_by=Direction.values)),
        ]


class AlertStatus(models.TextChoices):
    """Where an alert stands."""

    OPEN = "OPEN"
    SENT = "SENT"
    FAILED = "FAILED"
    SUPPRESSED = "SUPPRESSED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    RESOLVED = "RESOLVED"


class Alert(TenantModel):
    """A drift event that a rule calls attention to."""

    event = TenantForeignKey("drift.DriftEvent")
    rule = TenantForeignKey(AlertRule)
    status = models.TextField(choices=AlertStatus.choices, default=AlertStatus.OPEN)
    severity = models.SmallIntegerField(choices=Severity.choices)
    reason = models.TextField(default="")
    acknowledged_by = models.UUIDField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "alert"
        constraints = [
            models.UniqueConstraint(fields=["organization", "event", "rule"], name="alert_event_rule_uq"),
            one_of("alert", "status", AlertStatus),
            one_of("alert", "severity", Severity),
        ]
        indexes = [
            OrderIndex(fields=["organization", "-severity", "-id"], name="alert_severity_desc_idx"),
            models.Index(fields=["organization", "rule"], name="alert_rule_idx"),
        ]
