"""Runs that are configured otherwise than their organization, and the codes that a failed run can have.

The column comes without a scan or rewrite; statements that do not know of it go on working.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("drift", "0001_initial")]
    operations = [
        migrations.AddField("detectionrun", "what_if", models.BooleanField(default=False, db_default=False)),
        migrations.AlterField(
            "detectionrun",
            "error_code",
            models.TextField(
                blank=True,
                choices=[("BAD_USER_INPUT", "Bad User Input"), ("TIMEOUT", "Timeout"), ("INTERNAL", "Internal")],
                default="",
            ),
        ),
    ]
