"""An organization says from whom it keeps small cells, and from which count on they are shown."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_emergency_access")]
    operations = [
        migrations.AddField(
            "organization",
            "small_cells",
            models.TextField(
                choices=[("VIEWERS", "Viewers"), ("EVERYONE", "Everyone")], default="VIEWERS", db_default="VIEWERS"
            ),
        ),
        migrations.AddField("organization", "small_cell_minimum", models.IntegerField(null=True, blank=True)),
    ]
