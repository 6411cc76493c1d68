"""Every statement that changes rows makes an audit entry, by triggers on each table."""

from django.db import migrations, models

import backend.core.constraints


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_folded_addresses_usable_settings"),
        ("audit", "0004_functions"),
    ]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="purpose_required",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=backend.core.constraints.ChangeAudit(
                name="api_token_audit", tenant="organization_id", signs=("last_used_at",)
            ),
        ),
        migrations.AddConstraint(
            model_name="idempotencykey",
            constraint=backend.core.constraints.ChangeAudit(name="idempotency_key_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=backend.core.constraints.ChangeAudit(name="membership_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="organization",
            constraint=backend.core.constraints.ChangeAudit(name="organization_audit", tenant="id"),
        ),
    ]
