"""A further code that a failed run can have; no statement is sent."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("drift", "0003_drift_event_streak_started_on")]
    operations = [
        migrations.AlterField(
            "detectionrun",
            "error_code",
            models.TextField(
                blank=True,
                choices=[
                    ("BAD_USER_INPUT", "Bad User Input"),
                    ("TIMEOUT", "Timeout"),
                    ("ABANDONED", "Abandoned"),
                    ("INTERNAL", "Internal"),
                ],
                default="",
            ),
        ),
    ]
