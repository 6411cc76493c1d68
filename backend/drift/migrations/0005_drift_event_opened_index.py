"""A run opens an episode once: first of three phases, the index, made while drift events are read and written."""

from django.db import migrations, models

from backend.migration_safety.operations import AddUniqueIndex

OPENED = models.UniqueConstraint(
    fields=["organization", "first_run", "drift_type", "payer", "group", "direction"],
    nulls_distinct=False,
    name="drift_event_opened_uq",
)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("drift", "0004_detection_run_abandoned")]
    operations = [AddUniqueIndex("driftevent", OPENED)]
