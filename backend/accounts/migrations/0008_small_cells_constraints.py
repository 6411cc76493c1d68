"""What the options for small cells may be."""

from django.db import migrations, models
from django.db.models import Q

from backend.migration_safety.operations import AddConstraint


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "0007_small_cells")]
    operations = [
        AddConstraint(
            "organization",
            models.CheckConstraint(
                condition=Q(small_cells__in=["VIEWERS", "EVERYONE"]), name="organization_small_cells_ck"
            ),
        ),
        AddConstraint(
            "organization",
            models.CheckConstraint(condition=Q(small_cell_minimum__gt=0), name="organization_small_cell_minimum_ck"),
        ),
    ]
