"""Older rows get a note."""

from django.db import migrations

from backend.migration_safety.operations import Backfill


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("agents", "9006_info_total_not_null")]
    operations = [Backfill("agentrun", "review_note = ''", "review_note IS NULL")]
