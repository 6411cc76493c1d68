"""SARIF documents as agent runs: once each, whole or not at all."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from people import at_once

from backend.agents import errors
from backend.agents.models import AgentKind, AgentRun, Finding, FindingState
from backend.agents.selectors import agent_runs_of, findings_of
from backend.agents.services import agent_run_import_sarif
from backend.core.actor import Actor, Role
from backend.core.errors import AppError, Forbidden
from backend.core.tenancy import acting_for


def result(rule: str, line: int, **more: object) -> dict:
    place = {"artifactLocation": {"uri": "src/a.py"}, "region": {"startLine": line, "snippet": {"text": f"x = {line}"}}}
    return {
        "ruleId": rule,
        "level": "error",
        "message": {"text": f"{rule} is broken"},
        "locations": [{"physicalLocation": place}],
    } | more


def document(*runs: list[dict], revision: str = "a" * 40, branch: str = "main", version: str = "2.1.0") -> bytes:
    """A SARIF document with one run of ruff per list of results."""
    provenance = [{"repositoryUri": "https://example.org/repository", "revisionId": revision, "branch": branch}]
    driver = {"name": "ruff", "version": "0.17.6", "rules": []}
    return json.dumps(
        {
            "version": version,
            "runs": [
                {
                    "tool": {"driver": driver},
                    "results": results,
                    "versionControlProvenance": provenance,
                    "invocations": [
                        {
                            "executionSuccessful": True,
                            "startTimeUtc": "2026-01-02T03:04:05Z",
                            "endTimeUtc": "2026-01-02T03:04:07.5Z",
                        }
                    ],
                }
                for results in runs
            ],
        }
    ).encode()


def load(actor: Actor, content: bytes | Path, **changes) -> tuple[AgentRun, ...]:
    given = {"kind": AgentKind.CODE_QUALITY, "name": "ruff"} | changes
    return agent_run_import_sarif(actor=actor, document=content, **given)


def count(actor: Actor) -> tuple[int, int, int]:
    with acting_for(actor.organization_id):
        return AgentRun.objects.count(), Finding.objects.count(), FindingState.objects.count()


def test_a_run_is_stored_with_all_that_it_says(actor: Actor) -> None:
    suppressed = result("E501", 4, suppressions=[{"kind": "inSource", "status": "accepted"}])

    (run,) = load(actor, document([result("S608", 3), suppressed]))

    assert (run.status, run.trigger, run.commit, run.branch) == ("SUCCEEDED", "IMPORT", "a" * 40, "main")
    assert run.duration_ms == 2_500
    assert run.high_count == 1
    assert run.tools[0]["name"] == "ruff"
    with acting_for(actor.organization_id):
        found = {finding.rule: finding for finding in findings_of(run.id)}
        statuses = dict(FindingState.objects.values_list("rule", "status"))
        assert run.agent.version == "0.17.6"
    assert (found["S608"].path, found["S608"].start_line, found["S608"].severity) == ("src/a.py", 3, 3)
    assert found["E501"].suppressed
    assert statuses == {"S608": "OPEN", "E501": "SUPPRESSED"}


def test_the_same_document_is_the_same_runs(actor: Actor) -> None:
    content = document([result("S608", 3)], [result("S608", 3), result("E501", 4)])

    first = load(actor, content)
    before = count(actor)
    second = load(actor, content)

    assert [run.id for run in first] == [run.id for run in second]
    assert [run.sarif_run_index for run in first] == [0, 1]
    assert before == count(actor) == (2, 3, 2)


def scanned(at: str | None, *runs: tuple[str, list[dict]]) -> bytes:
    """A document with one run per tool, each begun a minute after the one before it."""
    content = json.loads(document(*(results for _, results in runs)))
    for minute, (run, (tool, _)) in enumerate(zip(content["runs"], runs, strict=True)):
        run["tool"]["driver"]["name"] = tool
        begun = {} if at is None else {"startTimeUtc": f"{at}T03:0{minute}:00Z"}
        run["invocations"] = [{"executionSuccessful": True} | begun]
    return json.dumps(content).encode()


@pytest.mark.parametrize("at", ["2026-01-02", None], ids=["own times", "no times"])
def test_the_runs_of_one_document_are_one_look_at_the_code(actor: Actor, at: str | None) -> None:
    ruff, mypy, bandit = ("ruff", [result("S608", 3)]), ("mypy", [result("arg-type", 4)]), ("bandit", [])

    def statuses() -> dict[str, str]:
        with acting_for(actor.organization_id):
            return dict(FindingState.objects.values_list("rule", "status"))

    first = load(actor, scanned(at, ruff, mypy, bandit))
    assert statuses() == {"S608": "OPEN", "arg-type": "OPEN"}
    assert [run.baseline_run_id for run in first] == [None] * 3
    with acting_for(actor.organization_id):
        assert agent_runs_of(first[0].agent_id).first() == first[-1]

    # An order of runs in which one that sees nothing comes before one that still sees its finding.
    again = at and "2026-01-03"
    load(actor, scanned(again, bandit, ruff, ("mypy", [])), commit="b" * 40)
    assert statuses() == {"S608": "OPEN", "arg-type": "FIXED"}

    load(actor, scanned(at and "2026-01-04", ("ruff", []), mypy), commit="c" * 40)
    assert statuses() == {"S608": "FIXED", "arg-type": "REOPENED"}


ERRORS_ON_THE_WAY = {"toolExecutionNotifications": [{"level": "error", "message": {"text": "src/b.py: not parsed"}}]}


@pytest.mark.parametrize(
    ("found", "changes", "conclusion"),
    [
        ([], {"executionSuccessful": False}, "INCONCLUSIVE"),
        ([], ERRORS_ON_THE_WAY, "INCONCLUSIVE"),
        ([result("E501", 4)], ERRORS_ON_THE_WAY, "FAIL"),
    ],
    ids=["not done", "errors, nothing found", "errors, something found"],
)
def test_a_run_that_may_have_overlooked_something_fixes_nothing(
    actor: Actor, found: list[dict], changes: dict, conclusion: str
) -> None:
    (first,) = load(actor, scanned("2026-01-02", ("ruff", [result("S608", 3)])))
    unsure = json.loads(scanned("2026-01-03", ("ruff", found)))
    unsure["runs"][0]["invocations"][0] |= changes

    (second,) = load(actor, json.dumps(unsure).encode(), commit="b" * 40)

    assert (second.status, second.conclusion) == ("SUCCEEDED", conclusion)
    with acting_for(actor.organization_id):
        assert FindingState.objects.get(rule="S608").status == "OPEN"
    (third,) = load(actor, scanned("2026-01-04", ("ruff", [])), commit="c" * 40)
    with acting_for(actor.organization_id):
        assert FindingState.objects.get(rule="S608").status == "FIXED"
    assert third.baseline_run_id == (first.id if conclusion == "INCONCLUSIVE" else second.id)


def test_another_commit_or_agent_is_another_run(actor: Actor) -> None:
    content = document([result("S608", 3)])

    runs = [load(actor, content)[0], load(actor, content, commit="b" * 40)[0], load(actor, content, name="x")[0]]

    assert len({run.id for run in runs}) == 3
    assert [run.commit for run in runs] == ["a" * 40, "b" * 40, "a" * 40]


def test_eight_imports_at_once_are_one_run(actor: Actor) -> None:
    content = document([result("S608", 3), result("E501", 4)])

    runs = at_once(*[lambda: load(actor, content)] * 8)

    assert all(isinstance(run, tuple) for run in runs), runs
    assert len({run[0].id for run in runs}) == 1
    assert count(actor) == (1, 2, 2)


def test_a_revision_that_is_no_commit_is_left_out(actor: Actor) -> None:
    (run,) = load(actor, document([], revision="r1234", branch="refs/heads/topic"))

    assert (run.commit, run.branch) == ("", "topic")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", document([], version="2.0.0"), document([result("S608", 3)])[:-9], b"\x1f\x8b\x00"],
    ids=["empty", "cut", "list", "version", "truncated", "binary"],
)
def test_what_is_no_sarif_is_refused_and_leaves_nothing(actor: Actor, content: bytes) -> None:
    with pytest.raises(AppError) as refusal:
        load(actor, content)

    assert refusal.value.code == "BAD_USER_INPUT"
    assert count(actor) == (0, 0, 0)


def test_a_bad_second_run_takes_the_first_one_with_it(actor: Actor) -> None:
    with pytest.raises(AppError):
        load(actor, document([result("S608", 3)], [{"ruleId": "no message"}]))

    assert count(actor) == (0, 0, 0)


def test_a_bad_commit_is_refused_before_the_document_is_read(actor: Actor) -> None:
    with pytest.raises(errors.BadCommit):
        load(actor, b"", commit="HEAD")


@pytest.mark.parametrize("role", [Role.ANALYST, Role.AUDITOR])
def test_readers_import_nothing(actor_as, role: Role) -> None:
    with pytest.raises(Forbidden):
        load(actor_as(role), document([]))


def test_the_command_imports_a_file(actor: Actor, organization, tmp_path: Path) -> None:
    file = tmp_path / "ruff.sarif"
    file.write_bytes(document([result("S608", 3)]))
    out = StringIO()

    call_command(
        "import_sarif", str(file), "--organization", organization.name, "--agent", "CODE_QUALITY:ruff", stdout=out
    )

    with acting_for(organization.id):
        run = AgentRun.objects.get()
    assert out.getvalue().startswith(f"{run.id} {run.conclusion} critical 0, high 1")


def test_the_command_reads_lines_that_are_not_quoted_from_the_checkout(
    actor: Actor, organization, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    source, file = tmp_path / "src" / "a.py", tmp_path / "scan.sarif"

    def scan(line: int) -> None:
        place = {"artifactLocation": {"uri": source.as_uri()}, "region": {"startLine": line}}
        file.write_bytes(document([result("E1", 0, locations=[{"physicalLocation": place}])]))
        agent = ("--agent", "CODE_QUALITY:scan", "--root", str(tmp_path))
        call_command("import_sarif", str(file), "--organization", organization.name, *agent, stdout=StringIO())

    source.write_text("bad()\ngood()\n")
    scan(1)
    source.write_text("good()\ngood()\n    bad()\n")
    scan(3)

    assert count(actor) == (2, 2, 1)
    with acting_for(organization.id):
        assert FindingState.objects.get().path == "src/a.py"
    with pytest.raises(CommandError, match="not a directory"):
        call_command(
            "import_sarif",
            str(file),
            *("--organization", organization.name, "--agent", "CODE_QUALITY:scan", "--root", str(file)),
        )


@pytest.mark.parametrize(
    ("agent", "content", "message"),
    [
        ("ruff", b"", "KIND:NAME"),
        ("NOTHING:ruff", b"", "KIND:NAME"),
        ("CODE_QUALITY:ruff", b"{", "not JSON"),
        ("CODE_QUALITY:ruff", None, "cannot be read"),
    ],
)
def test_the_command_says_what_is_wrong(
    organization, tmp_path: Path, agent: str, content: bytes | None, message: str
) -> None:
    file = tmp_path / "ruff.sarif"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(CommandError, match=message):
        call_command("import_sarif", str(file), "--organization", organization.name, "--agent", agent)
