"""Every statement that changes rows makes an audit entry, by triggers on each table."""

from django.db import migrations

import backend.core.constraints


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_change_audit"),
        ("drift", "0007_drift_event_opened_state"),
        ("payers", "0002_change_audit"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="detectionrun",
            constraint=backend.core.constraints.ChangeAudit(name="detection_run_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="driftevent",
            constraint=backend.core.constraints.ChangeAudit(name="drift_event_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="driftobservation",
            constraint=backend.core.constraints.ChangeAudit(name="drift_observation_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="drifttest",
            constraint=backend.core.constraints.ChangeAudit(name="drift_test_audit", tenant="organization_id"),
        ),
    ]
