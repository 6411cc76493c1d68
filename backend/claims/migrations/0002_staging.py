"""Staging for imports: temporary tables of a fixed shape, made by functions of the owner.

The server's role may not create tables, not even temporary ones. COPY FROM is refused on tables with row-level
security, so staging needs a table without it; a temporary one is seen by its own session alone.
"""

from django.db import migrations

FUNCTIONS = """
CREATE FUNCTION claims_staging_open() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp SET client_min_messages = warning AS $$
BEGIN
  DROP TABLE IF EXISTS pg_temp.claim_verdict, pg_temp.claim_row, pg_temp.claim_stage,
    pg_temp.count_row, pg_temp.count_stage;
  CREATE TEMPORARY TABLE claim_stage (
    id uuid, row_no int, claim_key bytea, line_no smallint, payer_raw text, payer_name text, payer_code text,
    procedure_code text, procedure_group text, modifiers text[], submitted_on date, decided_on date, paid_on date,
    outcome text, billed_cents bigint, allowed_cents bigint, paid_cents bigint, auth_required boolean,
    auth_present boolean, denial_carc text, denial_group text, rarc text[], auth_denial boolean, patient_ref bytea,
    provider_ref bytea, place_of_service text, row_sha256 bytea, is_reversal boolean
  ) ON COMMIT DROP;
  CREATE TEMPORARY TABLE claim_row (
    LIKE pg_temp.claim_stage, payer_id uuid, code_id uuid, group_id uuid, copy_no bigint, seen boolean, turn bigint
  ) ON COMMIT DROP;
  CREATE TEMPORARY TABLE claim_verdict (
    id uuid, turn bigint, row_no int, previous_id uuid, version int, verdict text
  ) ON COMMIT DROP;
  CREATE TEMPORARY TABLE count_stage (
    id uuid, row_no int, payer_raw text, payer_name text, payer_code text, procedure_code text, procedure_group text,
    measure text, period_start date, period_end date, total int, favourable int
  ) ON COMMIT DROP;
  CREATE TEMPORARY TABLE count_row (
    LIKE pg_temp.count_stage, payer_id uuid, code_id uuid, group_id uuid, previous_id uuid, version int, verdict text
  ) ON COMMIT DROP;
  EXECUTE format('GRANT SELECT, INSERT ON pg_temp.claim_stage, pg_temp.claim_row, pg_temp.claim_verdict,'
    ' pg_temp.count_stage, pg_temp.count_row TO %I', session_user);
END $$;

CREATE FUNCTION claims_staging_analyze(staging text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF staging NOT IN ('claim_stage', 'claim_row', 'claim_verdict', 'count_stage', 'count_row') THEN
    RAISE EXCEPTION 'not a staging table' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  EXECUTE format('ANALYZE pg_temp.%I', staging);
END $$;

DO $$
DECLARE member text;
BEGIN
  REVOKE EXECUTE ON FUNCTION claims_staging_open(), claims_staging_analyze(text) FROM PUBLIC;
  FOR member IN SELECT rolname FROM pg_roles WHERE rolname = 'app' LOOP
    EXECUTE format('GRANT EXECUTE ON FUNCTION claims_staging_open(), claims_staging_analyze(text) TO %I', member);
  END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("claims", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTIONS, "DROP FUNCTION claims_staging_open(); DROP FUNCTION claims_staging_analyze(text);")
    ]
