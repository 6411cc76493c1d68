"""How OpenID providers know people; nothing of it is there before the first sign-in by one."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import backend.core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_small_cells_constraints"),
    ]

    operations = [
        migrations.CreateModel(
            name="Identity",
            fields=[
                (
                    "id",
                    models.UUIDField(default=backend.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("issuer", models.TextField()),
                ("subject", models.TextField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "identities",
                "db_table": "user_account_identity",
                "constraints": [
                    models.UniqueConstraint(fields=("issuer", "subject"), name="user_account_identity_subject_uq"),
                    models.UniqueConstraint(fields=("user", "issuer"), name="user_account_identity_user_uq"),
                    models.CheckConstraint(
                        condition=models.Q(("issuer", ""), _negated=True), name="user_account_identity_issuer_ck"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("subject", ""), _negated=True), name="user_account_identity_subject_ck"
                    ),
                ],
            },
        ),
    ]
