"""What a whole run says: tools, conclusion, times, revision, metrics; and the report of a real scanner."""

import hashlib
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from sarif_documents import a_log, a_result, a_run, as_bytes

from backend.agents.sarif import read_sarif
from backend.agents.sarif_metrics import SarifBadMetric
from backend.agents.sarif_model import SarifMetric, SarifTool
from backend.core.errors import LimitExceeded


def run_of(*results, **fields):
    (run,) = read_sarif(as_bytes(a_log(a_run(*results, **fields))))
    return run


def invocation(successful=True, **fields):
    return {"executionSuccessful": successful, **fields}


NOTE = {"message": {"text": "could not parse a file"}, "level": "error"}
SUPPRESSED = [{"kind": "inSource"}]
SKIPPED_DRIVER = {"driver": {"name": "scan", "properties": {"driftgraph/skipped": True}}}
SKIPPED_PACK = {"extensions": [{"name": "pack", "properties": {"driftgraph/skipped": True}}]}


def metric(**fields):
    return {"driftgraph/metrics": [{"name": "coverage.line", "value": 0.91, **fields}]}


@pytest.mark.parametrize(
    ("results", "fields", "conclusion"),
    [
        ([], {}, "PASS"),
        ([a_result(level="note")], {}, "PASS"),
        ([a_result(level="warning")], {}, "FAIL"),
        ([a_result(level="error")], {}, "FAIL"),
        ([a_result(level="error", suppressions=SUPPRESSED)], {}, "PASS"),
        ([a_result(level="error", suppressions=SUPPRESSED), a_result()], {}, "FAIL"),
        ([a_result(level="error", kind="pass")], {}, "PASS"),
        ([], {"properties": metric()}, "PASS"),
        ([], {"properties": metric(passed=True)}, "PASS"),
        ([], {"properties": metric(passed=False)}, "FAIL"),
        ([], {"invocations": [invocation()]}, "PASS"),
        ([], {"invocations": [invocation(), invocation(False)]}, "INCONCLUSIVE"),
        ([a_result(level="error")], {"invocations": [invocation(False)]}, "INCONCLUSIVE"),
        ([], {"tool": SKIPPED_DRIVER}, "INCONCLUSIVE"),
        ([], {"tool": SKIPPED_PACK}, "INCONCLUSIVE"),
        ([], {"invocations": [invocation(toolExecutionNotifications=[NOTE])]}, "INCONCLUSIVE"),
        ([a_result()], {"invocations": [invocation(toolExecutionNotifications=[NOTE])]}, "FAIL"),
        ([], {"invocations": [invocation(toolExecutionNotifications=[{**NOTE, "level": "note"}])]}, "PASS"),
        ([], {"externalPropertyFileReferences": {"results": [{"location": {"uri": "r.sarif"}}]}}, "INCONCLUSIVE"),
    ],
)
def test_conclusions(results, fields, conclusion):
    assert run_of(*results, **fields).conclusion == conclusion


@pytest.mark.parametrize("results", [None, "absent"])
def test_a_run_without_results_was_no_scan(results):
    run = a_run()
    run["results"] = None
    if results == "absent":
        del run["results"]

    (read,) = read_sarif(as_bytes(a_log(run)))

    assert (read.findings, read.conclusion, read.tools[0].skipped) == ((), "INCONCLUSIVE", True)


def test_results_that_are_kept_apart_from_their_run_are_not_taken_for_none():
    apart = {"inlineExternalProperties": [{"results": [a_result()]}]}

    (read,) = read_sarif(as_bytes(a_log(a_run(), **apart)))

    assert read.conclusion == "INCONCLUSIVE"


def test_tools_are_the_driver_with_the_exit_code_and_the_extensions():
    extensions = [{"name": "pack", "semanticVersion": "2.0.0"}, {"name": "\u0007"}]
    run = run_of(tool={"extensions": extensions}, invocations=[invocation(exitCode=0), invocation(exitCode=3)])
    quiet = run_of(invocations=[invocation(exitCode=0)])

    assert run.tools == (
        SarifTool("scan", "1.2", 3, skipped=False, incomplete=False),
        SarifTool("pack", "2.0.0", None, skipped=False, incomplete=False),
        SarifTool("unnamed", "", None, skipped=False, incomplete=False),
    )
    assert quiet.tools[0].exit_code == 0
    assert run_of().tools[0].exit_code is None


@pytest.mark.parametrize(
    ("invocations", "started", "finished"),
    [
        ([], None, None),
        ([("2026-03-02T10:00:00Z", "2026-03-02T10:00:05.1234567Z")], (10, 0, 0), (10, 0, 5, 123456)),
        ([("2026-03-02T10:00:00+02:00", "2026-03-02T10:00:00")], (8, 0, 0), (10, 0, 0)),
        ([("2026-03-02T10:00:00Z", "2026-03-02T09:00:00Z")], (10, 0, 0), None),
        ([("yesterday", "")], None, None),
        ([("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")], None, None),
        (
            [("2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z"), ("2026-03-02T09:00:00Z", "2026-03-02T10:30:00Z")],
            (9, 0, 0),
            (11, 0, 0),
        ),
    ],
)
def test_times_span_the_invocations_in_utc(invocations, started, finished):
    run = run_of(invocations=[invocation(startTimeUtc=start, endTimeUtc=end) for start, end in invocations])

    assert run.started_at == (started and datetime(2026, 3, 2, *started, tzinfo=UTC))
    assert run.finished_at == (finished and datetime(2026, 3, 2, *finished, tzinfo=UTC))


@pytest.mark.parametrize(
    ("details", "commit", "branch"),
    [
        ({}, None, None),
        ({"revisionId": "A" * 40, "branch": "refs/heads/main"}, "a" * 40, "main"),
        ({"revisionId": "abc123", "branch": "feature/x"}, None, "feature/x"),
        ({"revisionId": "a" * 64, "branch": "\u0000"}, None, None),
        ({"branch": "b" * 400}, None, "b" * 254 + "…"),
    ],
)
def test_commit_and_branch(details, commit, branch):
    details = {"repositoryUri": "https://git.example/r", **details}

    run = run_of(versionControlProvenance=[details])

    assert (run.commit, run.branch) == (commit, branch)


def test_metrics_are_read_in_order():
    metrics = [
        {"name": "coverage.line", "value": 0.91, "threshold": 0.95, "unit": "ratio", "passed": False},
        {"name": "query.p95_ms", "value": 12},
        {"name": "null", "value": -1, "threshold": None, "unit": None, "passed": None},
    ]

    run = run_of(properties={"driftgraph/metrics": metrics})

    assert run.metrics == (
        SarifMetric("coverage.line", 0.91, 0.95, "ratio", passed=False),
        SarifMetric("query.p95_ms", 12.0, None, None, passed=None),
        SarifMetric("null", -1.0, None, None, passed=None),
    )


@pytest.mark.parametrize(
    ("metrics", "place"),
    [
        ({}, ()),
        ([7], ("0",)),
        ([{"value": 1}], ("0", "name")),
        ([{"name": "\u0000", "value": 1}], ("0", "name")),
        ([{"name": "a"}], ("0", "value")),
        ([{"name": "a", "value": "secret-1"}], ("0", "value")),
        ([{"name": "a", "value": True}], ("0", "value")),
        ([{"name": "a", "value": 1, "threshold": "secret-1"}], ("0", "threshold")),
        ([{"name": "a", "value": 1, "unit": 5}], ("0", "unit")),
        ([{"name": "a", "value": 1, "passed": 1}], ("0", "passed")),
        ([{"name": "a", "value": 1, "secret-1": 1}], ("0",)),
        ([{"name": "a", "value": 1}, {"name": "a", "value": 2}], ("1", "name")),
    ],
)
def test_a_bad_metric_is_refused_by_its_place(metrics, place):
    with pytest.raises(SarifBadMetric) as caught:
        run_of(properties={"driftgraph/metrics": metrics})

    assert caught.value.path == ("runs", "0", "properties", "driftgraph/metrics", *place)
    assert "secret-1" not in caught.value.message


def test_the_number_of_metrics_is_limited():
    metrics = [{"name": f"m{number}", "value": 1} for number in range(1_001)]

    with pytest.raises(LimitExceeded):
        run_of(properties={"driftgraph/metrics": metrics})


def test_each_run_of_a_document_is_one_run_with_the_digest_of_the_document():
    data = as_bytes(a_log(a_run(a_result("A")), a_run(a_result("A"), a_result("B"))))

    runs = read_sarif(data)

    assert [[finding.rule_id for finding in run.findings] for run in runs] == [["A"], ["A", "B"]]
    assert {run.sha256 for run in runs} == {hashlib.sha256(data).digest()}


FAULTY = """import os
import subprocess


def f(table):
    subprocess.call("ls " + table, shell=True)
    return "SELECT * FROM %s" % table
"""


def ruff_report(directory):
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F,S"]
    command += ["--output-format", "sarif", str(directory)]
    return subprocess.run(command, capture_output=True, check=False).stdout


def test_a_report_of_ruff_reads_the_same_wherever_the_checkout_is(tmp_path):
    reports = []
    for name in ("first", "second place"):
        root = tmp_path / name
        (root / "pkg" / "sub").mkdir(parents=True)
        (root / "pkg" / "faulty.py").write_text(FAULTY)
        (root / "pkg" / "sub" / "faulty.py").write_text("import sys\n")
        reports.append(read_sarif(ruff_report(root), root=str(root)))

    (first,), (second,) = reports

    found = {(finding.rule_id, finding.path, finding.start_line) for finding in first.findings}
    assert {
        ("F401", "pkg/faulty.py", 1),
        ("S602", "pkg/faulty.py", 6),
        ("S608", "pkg/faulty.py", 7),
        ("F401", "pkg/sub/faulty.py", 1),
    } <= found
    assert first.findings == second.findings
    assert (first.tools[0].name, first.conclusion) == ("ruff", "FAIL")
    assert str(tmp_path) not in repr((first, second))


def test_a_report_of_ruff_without_a_root_shows_no_directory_of_the_machine(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "faulty.py").write_text(FAULTY)
    (tmp_path / "setup.py").write_text("import sys\n")

    (run,) = read_sarif(ruff_report(tmp_path))

    assert {finding.path for finding in run.findings} == {"pkg/faulty.py", "setup.py"}
    assert str(tmp_path) not in repr(run)
