"""What lint and rehearsal found becomes an agent run, now or when a server answers; no hook fails for want of one."""

import dataclasses
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from backend.accounts.models import ApiToken, Organization
from backend.accounts.services import secret_hash
from backend.agents.models import AgentRun, Finding
from backend.agents.reports import keep, kept
from backend.agents.sarif import read_sarif
from backend.config.env import BadSetting, read_environment
from backend.core.tenancy import acting_for
from backend.db.bootstrap import create_database
from backend.migration_safety.sarif import Run
from benchmarks.serving import free_port
from tests import server
from tests.serving import Serving, serving

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "http://127.0.0.1:1/graphql"
Use = Callable[..., None]


@pytest.fixture(scope="module")
def site(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(database, tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Use:
    """Sets what commands report to; reports wait in a folder of the test's own."""

    def change(**values: str) -> None:
        changed = dataclasses.replace(settings.ENVIRONMENT, data_dir=tmp_path, **values)
        monkeypatch.setattr(settings, "ENVIRONMENT", changed)

    return change


@pytest.fixture
def token(organization: Organization) -> str:
    return a_token(organization, ["agents:write"])


def a_token(organization: Organization, scopes: list[str]) -> str:
    secret = "dg_" + organization.id.hex.ljust(43, "x")
    with acting_for(organization.id):
        ApiToken.objects.create(
            organization=organization,
            name="t",
            hash=secret_hash(secret),
            role="SERVICE",
            scopes=scopes,
            expires_at=timezone.now() + datetime.timedelta(days=1),
        )
    return secret


def runs_of(organization: Organization) -> list[AgentRun]:
    with acting_for(organization.id):
        return list(AgentRun.objects.select_related("agent").order_by("started_at"))


def command(name: str, *words: str, **options: object) -> str:
    said = StringIO()
    call_command(name, *words, stdout=said, stderr=said, **options)
    return said.getvalue()


def sync() -> str:
    return command("agent_runs_sync")


def test_what_was_found_is_an_agent_run(site: Serving, organization: Organization, token: str, use: Use) -> None:
    use(report_url=f"{site.url}/graphql", report_token=token)

    passed = command("lint_migrations", "accounts.0003", report=True)
    with pytest.raises(SystemExit):
        command("rehearse_migrations", "contenttypes.0002", rows=200, report=True, verbosity=0)

    lint, rehearsal = runs_of(organization)
    assert "Reported as an agent run: PASS." in passed
    assert [(run.agent.kind, run.agent.name, run.conclusion) for run in (lint, rehearsal)] == [
        ("MIGRATION_SAFETY", "lint_migrations", "PASS"),
        ("MIGRATION_SAFETY", "rehearse_migrations", "FAIL"),
    ]
    assert [tool["name"] for tool in lint.tools] == ["lint_migrations", "squawk-cli"]
    assert (lint.high_count, rehearsal.high_count, kept()) == (0, 4, [])
    with acting_for(organization.id):
        (accepted,) = Finding.objects.filter(run=lint)
        assert (accepted.rule, accepted.suppressed, accepted.path) == (
            "ban-drop-function",
            True,
            "backend/accounts/migrations/0003_authentication_revoked.py",
        )
        rules = set(Finding.objects.filter(run=rehearsal).values_list("rule", "title"))
        assert rules == {("old-statement-fails", "a statement of the deployed code fails, or does less than before")}


def test_without_a_server_it_waits_until_one_answers(
    site: Serving, organization: Organization, token: str, use: Use
) -> None:
    use(report_url=NOWHERE, report_token=token)
    said = [command("lint_migrations", name, report=True) for name in ("drift.0003", "drift.0004")]
    with pytest.raises(CommandError, match=r"No server answers at DRIFTGRAPH_REPORT_URL. Reports that wait in .*: 2."):
        sync()
    began = [read_sarif(report.path.read_bytes())[0].started_at for report in kept()]

    use(report_url=f"{site.url}/graphql", report_token=token)
    sent, nothing = sync(), sync()

    assert all("agent_runs_sync sends it" in text for text in said)
    assert [line.split()[0] + line.split()[-1] for line in sent.splitlines()] == ["1/2PASS", "2/2PASS"]
    assert nothing == "No report waits.\n"
    assert [run.started_at for run in runs_of(organization)] == began


def test_a_report_whose_answer_was_lost_is_sent_again_and_makes_no_other_run(
    site: Serving, organization: Organization, token: str, use: Use
) -> None:
    use(report_url=f"{site.url}/graphql", report_token=token)
    report = keep(Run("lint_migrations").document([]))
    content = report.path.read_bytes()
    report.send()

    report.path.write_bytes(content)
    assert "1/1 lint_migrations" in sync()

    assert len(runs_of(organization)) == 1
    assert kept() == []


def test_a_token_that_is_not_good_is_named_and_loses_nothing(
    site: Serving, organization: Organization, use: Use
) -> None:
    for token in ("dg_" + "y" * 43, "no token", a_token(organization, ["agents:read"])):
        use(report_url=f"{site.url}/graphql", report_token=token)
        said = command("lint_migrations", "drift.0003", report=True)
        assert "The server refused DRIFTGRAPH_REPORT_TOKEN, which needs the scope agents:write" in said
        with pytest.raises(CommandError, match="DRIFTGRAPH_REPORT_TOKEN"):
            sync()

    assert len(kept()) == 3
    assert runs_of(organization) == []


@pytest.mark.parametrize("token", ["dg_hidden\nX-Other: 1", "dg_hidden\N{EURO SIGN}", "dg_hidden dg_hidden"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(BadSetting, match="DRIFTGRAPH_REPORT_TOKEN is not valid: it must be one word") as refused:
        read_environment({"DRIFTGRAPH_REPORT_TOKEN": token})

    assert "hidden" not in str(refused.value)
    assert read_environment({"DRIFTGRAPH_REPORT_TOKEN": " dg_x\r\n"}).report_token == "dg_x"


def test_what_the_server_does_not_take_stays_and_does_not_hold_up_the_others(
    site: Serving, organization: Organization, token: str, use: Use
) -> None:
    use(report_url=f"{site.url}/graphql", report_token=token)
    bad, good = (keep(Run("lint_migrations").document([])) for _ in range(2))
    bad.path.write_text('{"version": "2.0.0"}')
    (bad.path.parent / "notes.sarif").write_text("not ours")

    with pytest.raises(CommandError, match="Refused: 1"):
        sync()

    assert [report.path for report in kept()] == [bad.path]
    assert not good.path.exists()
    assert len(runs_of(organization)) == 1


def test_a_server_without_the_tables_keeps_no_hook_from_passing(
    database: str, organization: Organization, token: str, use: Use, tmp_path: Path
) -> None:
    superuser = server.url("postgres", "postgres")
    name = server.database_name("without_runs")
    create_database(superuser, name, template=server.database_name("template"))
    with psycopg.connect(server.url("postgres", name), autocommit=True) as other:
        other.execute("DROP TABLE agent_run, agent CASCADE")
        copied = "INSERT INTO organization SELECT * FROM json_populate_record(NULL::organization, %s)"
        with psycopg.connect(server.url("postgres", database)) as source:
            tenant, secret = (
                source.execute(f"SELECT to_json(t) FROM {table} AS t WHERE {key} = %s", [organization.id]).fetchone()[0]
                for table, key in (("organization", "id"), ("api_token", "organization_id"))
            )
        other.execute(copied, [json.dumps(tenant)])
        other.execute(copied.replace("organization", "api_token"), [json.dumps(secret)])

    with serving(name, tmp_path / "served") as site:
        use(report_url=f"{site.url}/graphql", report_token=token)
        said = command("lint_migrations", "drift.0003", report=True)

    assert "cannot keep the report now" in said
    assert len(kept()) == 1


def test_without_settings_or_a_folder_it_says_so_and_goes_on(use: Use, database: str, tmp_path: Path) -> None:
    use()
    assert "Set DRIFTGRAPH_REPORT_URL and DRIFTGRAPH_REPORT_TOKEN" in command(
        "lint_migrations", "drift.0003", report=True
    )

    (report,) = kept()
    report.path.unlink()
    report.path.parent.rmdir()
    report.path.parent.touch()
    assert "The report is lost" in command("lint_migrations", "drift.0003", report=True)


def test_an_answer_that_nobody_can_read_is_no_success(use: Use, tmp_path: Path) -> None:
    port = free_port()
    files = subprocess.Popen([sys.executable, "-m", "http.server", str(port)], cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        use(report_url=f"http://127.0.0.1:{port}/graphql", report_token="dg_x")
        report = keep(Run("lint_migrations").document([]))
        while (said := refusal()).startswith("No server"):
            assert files.poll() is None
    finally:
        files.terminate()
        files.communicate()

    assert "cannot keep the report now: it answered with status 501" in said
    assert report.path.exists()


def refusal() -> str:
    with pytest.raises(CommandError) as refused:
        sync()
    return str(refused.value)


def hook(**variables: str) -> str:
    """What the hook of a commit says that it lets pass."""
    kept_of_environment = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTGRAPH_")}
    ended = subprocess.run(
        [sys.executable, "manage.py", "lint_migrations", "drift.0003", "--report"],
        cwd=ROOT,
        env={**kept_of_environment, **{f"DRIFTGRAPH_{name}": value for name, value in variables.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "only operations are read" in ended.stderr
    return ended.stderr


def test_a_hook_passes_without_a_database_and_its_run_is_inconclusive(tmp_path: Path) -> None:
    nowhere = {"DATABASE_URL": "postgresql://app@127.0.0.1:1/x", "DATA_DIR": str(tmp_path)}
    for owner in ({}, {"OWNER_DATABASE_URL": "postgresql://owner@127.0.0.1:1/x"}):
        hook(**nowhere, **owner)

    documents = [path.read_bytes() for path in (tmp_path / "reports").glob("*.sarif")]
    assert [read_sarif(document)[0].conclusion for document in documents] == ["INCONCLUSIVE"] * 2


def test_a_hook_passes_where_the_embedded_server_does_not_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "pg").touch()

    no_folder, no_cluster = hook(DATA_DIR=str(tmp_path / "file")), hook(DATA_DIR=str(tmp_path))

    assert "file cannot be used by this user" in no_folder
    assert "The report is lost" in no_folder
    (report,) = (tmp_path / "reports").glob("*.sarif")
    assert read_sarif(report.read_bytes())[0].conclusion == "INCONCLUSIVE"
    assert "report waits in" in no_cluster
