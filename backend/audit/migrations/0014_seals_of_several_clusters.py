"""Seals what every cluster before this one left, and goes on where the chain was when a database comes back to one.

Before, only what the cluster of the last seal had left was sealed, and a chain that came back to a cluster began at zero.
"""

from django.db import migrations

from backend.audit.migrations._seal_make import BEFORE, SEAL_MAKE

_NOW = """
  made.epoch := audit_epoch();
  made.xid_from := last.xid_to;
  made.xid_to := pg_snapshot_xmin(pg_current_snapshot());
  IF last.epoch IS DISTINCT FROM made.epoch THEN
    -- Another cluster since the last seal: transaction ids began anew. What those before it left comes first.
    WITH RECURSIVE cluster (epoch) AS (
      (SELECT e.epoch FROM audit_entry e ORDER BY e.epoch LIMIT 1)
      UNION ALL
      SELECT (SELECT e.epoch FROM audit_entry e WHERE e.epoch > c.epoch ORDER BY e.epoch LIMIT 1)
      FROM cluster c WHERE c.epoch IS NOT NULL
    )
    SELECT c.epoch, coalesce(s.xid_to, '0'), e.xid INTO left_epoch, left_from, left_over FROM cluster c
    CROSS JOIN LATERAL (SELECT xid, at FROM audit_entry WHERE epoch = c.epoch ORDER BY xid DESC LIMIT 1) e
    LEFT JOIN LATERAL (SELECT xid_to FROM audit_seal WHERE epoch = c.epoch ORDER BY seq DESC LIMIT 1) s ON true
    WHERE c.epoch <> made.epoch AND e.xid >= coalesce(s.xid_to, '0') ORDER BY e.at LIMIT 1;
    IF FOUND THEN
      made.epoch := left_epoch;
      made.xid_from := left_from;
      made.xid_to := (left_over::text::numeric + 1)::text::xid8;
    ELSIF EXISTS (SELECT FROM audit_entry WHERE epoch = made.epoch) THEN
      -- Not the first time here, perhaps.
      made.xid_from := coalesce((SELECT xid_to FROM audit_seal WHERE epoch = made.epoch ORDER BY seq DESC LIMIT 1), '0');
    ELSE
      RETURN;
    END IF;
  END IF;"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0013_unsealed")]
    safety_exceptions = {"data-with-schema": "the INSERT is in the body of a function, which nothing calls here"}
    operations = [
        migrations.RunSQL(
            SEAL_MAKE.format(what=_NOW, declared="\n  left_epoch bigint;\n  left_from xid8;"),
            SEAL_MAKE.format(what=BEFORE, declared=""),
        )
    ]
