"""Addresses are kept case-folded, and settings of an organization are such as detection can use.

Rows from before are mended first. Where two accounts differ in case alone, only a person can tell which is to stay: the
migration stops at the unique key of the address, and goes on after one of the two has another address.
"""

from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Lower

from backend.migration_safety.operations import AddConstraint, Backfill

_CONTROLS = r"[\u0001-\u001f\u007f-\u009f]"


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "0003_authentication_revoked")]
    operations = [
        Backfill("user", "email = lower(email)", "email <> lower(email)"),
        AddConstraint("user", models.CheckConstraint(condition=Q(email=Lower("email")), name="user_account_email_ck")),
        Backfill(
            "organization",
            "fdr_q = least(fdr_q, 0.5), severity_lift_cents = greatest(severity_lift_cents, 1),"
            f" name = regexp_replace(name, '{_CONTROLS}', ' ', 'g')",
            f"fdr_q > 0.5 OR severity_lift_cents <= 0 OR name ~ '{_CONTROLS}'",
        ),
        AddConstraint(
            "organization",
            models.CheckConstraint(condition=Q(fdr_q__lte=0.5), name="organization_fdr_q_largest_ck"),
        ),
        AddConstraint(
            "organization",
            models.CheckConstraint(condition=Q(severity_lift_cents__gt=0), name="organization_severity_lift_cents_ck"),
        ),
        AddConstraint(
            "organization",
            models.CheckConstraint(condition=~Q(name__regex=_CONTROLS), name="organization_name_controls_ck"),
        ),
    ]
