"""A run opens an episode once: second phase, the index becomes that of a constraint, without looking at a row."""

from django.db import migrations, models

from backend.migration_safety.operations import UseUniqueIndex

OPENED = models.UniqueConstraint(
    fields=["organization", "first_run", "drift_type", "payer", "group", "direction"],
    nulls_distinct=False,
    name="drift_event_opened_uq",
)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("drift", "0005_drift_event_opened_index")]
    operations = [UseUniqueIndex("driftevent", OPENED)]
