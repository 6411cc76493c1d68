"""Every statement that changes rows makes an audit entry, by triggers on each table."""

from django.db import migrations

import backend.core.constraints


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_change_audit"),
        ("alerts", "0001_initial"),
        ("drift", "0008_change_audit"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="alert",
            constraint=backend.core.constraints.ChangeAudit(name="alert_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="alertrule",
            constraint=backend.core.constraints.ChangeAudit(name="alert_rule_audit", tenant="organization_id"),
        ),
    ]
