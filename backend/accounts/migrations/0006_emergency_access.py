"""Emergency access of people who are no members; `memberships_of` finds it until it ends."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import backend.core.constraints
import backend.core.ids
import backend.core.tenant_models

_FUNCTION = """
CREATE OR REPLACE FUNCTION memberships_of(person uuid)
RETURNS TABLE (organization_id uuid, organization_name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  {query}
$$;
"""
_FORWARD = _FUNCTION.format(
    query="""SELECT DISTINCT ON (o.name, o.id) o.id, o.name, m.role
  FROM (
    SELECT organization_id, role, 'infinity'::timestamptz AS until FROM membership WHERE user_id = person
    UNION ALL
    SELECT organization_id, role, expires_at FROM emergency_access WHERE user_id = person AND expires_at > now()
  ) m JOIN organization o ON o.id = m.organization_id JOIN user_account u ON u.id = person AND u.is_active
  ORDER BY o.name, o.id, m.until DESC"""
)
_BACKWARD = _FUNCTION.format(
    query="""SELECT m.organization_id, o.name, m.role
  FROM membership m JOIN organization o ON o.id = m.organization_id JOIN user_account u ON u.id = m.user_id AND u.is_active
  WHERE m.user_id = person ORDER BY o.name"""
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_change_audit"),
    ]

    operations = [
        migrations.CreateModel(
            name="EmergencyAccess",
            fields=[
                (
                    "id",
                    models.UUIDField(default=backend.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "role",
                    models.TextField(
                        choices=[
                            ("OWNER", "Owner"),
                            ("ADMIN", "Admin"),
                            ("ANALYST", "Analyst"),
                            ("VIEWER", "Viewer"),
                            ("AUDITOR", "Auditor"),
                            ("SERVICE", "Service"),
                        ]
                    ),
                ),
                ("reason", models.TextField()),
                ("expires_at", models.DateTimeField()),
                (
                    "organization",
                    backend.core.tenant_models.OrganizationKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "db_table": "emergency_access",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="emergency_access_organization_id_uq"),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["OWNER", "ADMIN", "ANALYST", "VIEWER", "AUDITOR", "SERVICE"])),
                        name="emergency_access_role_ck",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="emergency_access_reason_ck"
                    ),
                    backend.core.constraints.TenantPolicy(name="emergency_access_tenant"),
                    backend.core.constraints.ChangeAudit(name="emergency_access_audit", tenant="organization_id"),
                ],
            },
        ),
        migrations.RunSQL(_FORWARD, _BACKWARD),
    ]
