"""Every statement that changes rows makes an audit entry, by triggers on each table."""

from django.db import migrations

import backend.core.constraints


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_change_audit"),
        ("agents", "0001_initial"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="agent",
            constraint=backend.core.constraints.ChangeAudit(name="agent_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="agentmetric",
            constraint=backend.core.constraints.ChangeAudit(name="agent_metric_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="agentrun",
            constraint=backend.core.constraints.ChangeAudit(
                name="agent_run_audit", tenant="organization_id", signs=("heartbeat_at",)
            ),
        ),
        migrations.AddConstraint(
            model_name="finding",
            constraint=backend.core.constraints.ChangeAudit(name="finding_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="findingstate",
            constraint=backend.core.constraints.ChangeAudit(name="finding_state_audit", tenant="organization_id"),
        ),
    ]
