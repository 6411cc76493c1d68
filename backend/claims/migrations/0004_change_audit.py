"""Every statement that changes rows makes an audit entry, by triggers on each table."""

from django.db import migrations

import backend.core.constraints


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_change_audit"),
        ("claims", "0003_quality_report_dropped_cells"),
        ("payers", "0002_change_audit"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="claim",
            constraint=backend.core.constraints.ChangeAudit(name="claim_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="importbatch",
            constraint=backend.core.constraints.ChangeAudit(name="import_batch_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="importissue",
            constraint=backend.core.constraints.ChangeAudit(name="import_issue_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="outcomecount",
            constraint=backend.core.constraints.ChangeAudit(name="outcome_count_audit", tenant="organization_id"),
        ),
        migrations.AddConstraint(
            model_name="qualityreport",
            constraint=backend.core.constraints.ChangeAudit(name="quality_report_audit", tenant="organization_id"),
        ),
    ]
