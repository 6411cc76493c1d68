"""A column that may be null."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "BEFORE")]
    operations = [migrations.AddField("agentrun", "review_note", models.TextField(null=True))]
