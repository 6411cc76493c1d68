"""A column that is to have another type: info_count is an integer."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "9002_priority")]
    operations = [migrations.AddField("agentrun", "info_total", models.BigIntegerField(null=True))]
