"""The tables that the benchmark's documents read, as models that Django does not manage."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Row(models.Model):
    """A row of one organization; which rows there are is decided by row-level security."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    created_at = models.DateTimeField()

    class Meta:
        abstract = True


class Payer(Row):
    """Who decides and pays claims."""

    code = models.TextField()
    name = models.TextField()
    kind = models.TextField()
    active = models.BooleanField()
    mapped = models.BooleanField()

    class Meta:
        managed = False
        db_table = "payer"
        ordering = ["name", "id"]


class ProcedureGroup(Row):
    """A customer's group of procedure codes."""

    code = models.TextField()
    name = models.TextField()

    class Meta:
        managed = False
        db_table = "procedure_group"
        ordering = ["code", "id"]


class DetectionRun(Row):
    """One execution of the detectors."""

    as_of = models.DateField()
    kind = models.TextField()
    source = models.TextField()
    status = models.TextField()
    tests_total = models.IntegerField()
    tests_significant = models.IntegerField()

    class Meta:
        managed = False
        db_table = "detection_run"
        ordering = ["-as_of", "-id"]


class DriftEvent(Row):
    """A change of a payer."""

    drift_type = models.TextField()
    source = models.TextField()
    payer = models.ForeignKey(Payer, models.DO_NOTHING, related_name="+")
    group = models.ForeignKey(ProcedureGroup, models.DO_NOTHING, null=True, related_name="+")
    direction = models.TextField()
    harmful = models.BooleanField()
    status = models.TextField()
    unit = models.TextField()
    baseline_value = models.FloatField()
    current_value = models.FloatField()
    delta = models.FloatField()
    ci_low = models.FloatField()
    ci_high = models.FloatField()
    q_value = models.FloatField()
    confidence = models.FloatField()
    severity = models.SmallIntegerField()
    severity_score = models.FloatField()
    n0 = models.IntegerField()
    n1 = models.IntegerField()
    first_seen_on = models.DateField()
    last_seen_on = models.DateField()
    change_on = models.DateField(null=True)
    # A digit amid the name is more than the peers' translation to camel case and back can take.
    revenue_cents = models.BigIntegerField(db_column="revenue_at_risk_30d_cents")
    first_run = models.ForeignKey(DetectionRun, models.DO_NOTHING, related_name="+")

    class Meta:
        managed = False
        db_table = "drift_event"
        ordering = ["-revenue_cents", "-id"]


class Agent(Row):
    """An automated auditor."""

    kind = models.TextField()
    name = models.TextField()
    version = models.TextField()

    class Meta:
        managed = False
        db_table = "agent"
        ordering = ["name", "id"]


class AgentRun(Row):
    """One execution of an auditor."""

    agent = models.ForeignKey(Agent, models.DO_NOTHING, related_name="runs")
    trigger = models.TextField()
    status = models.TextField()
    conclusion = models.TextField(null=True)
    commit = models.TextField()
    branch = models.TextField()
    critical_count = models.IntegerField()
    high_count = models.IntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    duration_ms = models.BigIntegerField(null=True)

    class Meta:
        managed = False
        db_table = "agent_run"
        ordering = ["-started_at", "-id"]


class Finding(Row):
    """One thing that a run reports."""

    run = models.ForeignKey(AgentRun, models.DO_NOTHING, related_name="findings")
    rule = models.TextField()
    tool = models.TextField()
    severity = models.SmallIntegerField()
    category = models.TextField()
    title = models.TextField()
    path = models.TextField()
    start_line = models.IntegerField(null=True)
    start_column = models.IntegerField(null=True)
    cwe = ArrayField(models.IntegerField())
    suppressed = models.BooleanField()

    class Meta:
        managed = False
        db_table = "finding"
        ordering = ["-severity", "-id"]
