"""Every statement that changes rows makes an audit entry, by triggers on each table."""

from django.db import migrations

import backend.core.constraints


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_change_audit"),
        ("payers", "0001_initial"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="payer",
            constraint=backend.core.constraints.ChangeAudit(name="payer_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="payeralias",
            constraint=backend.core.constraints.ChangeAudit(name="payer_alias_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="procedurecode",
            constraint=backend.core.constraints.ChangeAudit(name="procedure_code_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="proceduregroup",
            constraint=backend.core.constraints.ChangeAudit(name="procedure_group_audit", tenant="organization_id"),
        ),
    ]
