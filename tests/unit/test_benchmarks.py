"""The pure parts of the benchmarks: ratios, the one form of answers, what wrk says, verdicts, options, locks."""

import base64
import json
import os
import re
import uuid
from collections import Counter
from pathlib import Path

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse

from backend.db.embedded import EmbeddedServer
from benchmarks.faults.causes import FAULTS
from benchmarks.faults.trial import Outcome
from benchmarks.peers import command, load
from benchmarks.peers.database import Database
from benchmarks.peers.django_tables.serving import tenant
from benchmarks.peers.installation import Installation
from benchmarks.peers.load import Load, LoadFailed
from benchmarks.peers.measuring import Plan, bout_seconds
from benchmarks.peers.normalising import Refused, canonical, first_difference, row_key
from benchmarks.peers.ratios import Summary, against, ratio
from benchmarks.peers.servers import OURS, PEERS, PYTHON_PEERS, SERVERS, Setup, Variant
from benchmarks.peers.statements import split
from benchmarks.soak.judging import QUIET, Judge, Tally, Verdict

PLAN = Plan(Load(12, 2), 5, 2)
PEERS_FOLDER = Path(command.__file__).parent
KEY = uuid.UUID("019789ab-cdef-7123-8456-789abcdef012")
OTHER = uuid.UUID("019789ab-cdef-7123-8456-789abcdef013")


def _ours(key: uuid.UUID) -> str:
    return base64.b64encode(b"DE" + key.bytes).decode()


def test_a_ratio_is_taken_within_each_round_and_is_the_median_of_the_rounds() -> None:
    # The machine was three times slower in the second round: for both.
    assert ratio([200, 60, 240], [100, 20, 100]) == pytest.approx(2.4)


def test_ratios_need_as_many_rounds_of_both() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1, 2], [1])


def test_a_summary_has_the_geometric_mean_and_the_worst() -> None:
    summary = against({"a": {"q1": [4], "q2": [1], "q9": [1]}, "b": {"q1": [1], "q2": [1]}}, "a", "b")

    assert summary == Summary({"q1": 4.0, "q2": 1.0})
    assert summary.as_json() == {"q1": 4.0, "q2": 1.0, "geometric_mean": pytest.approx(2.0)}
    assert summary.worst == 1.0


@pytest.mark.parametrize(
    "text",
    [
        str(KEY),
        _ours(KEY),
        base64.b64encode(f"DriftEvent:{KEY}".encode()).decode(),
        base64.b64encode(json.dumps(["DriftEvent", str(KEY)]).encode()).decode(),
    ],
)
def test_every_form_of_a_global_id_leads_to_the_row(text: str) -> None:
    assert row_key(text) == str(KEY)


def test_an_id_without_a_row_is_refused() -> None:
    with pytest.raises(Refused):
        row_key("bm9ib2R5")


def test_answers_that_say_the_same_have_one_form() -> None:
    ours = {
        "id": _ours(KEY),
        "severity": "HIGH",
        "delta": 1,
        "startedAt": "2025-01-01T01:00:00+01:00",
        "durationMs": 12,
        "revenueDollars": "12.34",
        "list": {"nodes": [{"name": "a"}], "pageInfo": {"hasNextPage": True, "endCursor": "x"}},
    }
    theirs = {
        "id": str(KEY),
        "severity": 3,
        "delta": 1.0,
        "startedAt": "2025-01-01T00:00:00Z",
        "durationMs": "12",
        "revenueCents": "1234",
        "list": {"edges": [{"node": {"name": "a"}}], "pageInfo": {"hasNextPage": True, "endCursor": "y"}},
    }

    assert canonical(_body(ours)) == canonical(_body(theirs))


def test_the_first_difference_is_named() -> None:
    left, right = {"a": [1, {"b": 2}], "c": 1}, {"a": [1, {"b": 3}], "c": 1}

    assert first_difference(left, right) == "data.a[1].b: 2 and 3"
    assert first_difference(left, left) is None
    assert first_difference({"a": [1]}, {"a": [1, 2]}) == "data.a has 1 and 2 items"
    assert first_difference({"a": 1}, {}) == "data.a is only in the first"


@pytest.mark.parametrize("body", [b'{"errors": [{"message": "no"}], "data": {"a": 1}}', b'{"data": null}', b"<html>"])
def test_an_answer_with_errors_or_nothing_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        canonical(body)


def _body(data: object) -> bytes:
    return json.dumps({"data": data}).encode()


def _wrk(**changes: int) -> str:
    figures = {
        "requests": 300,
        "microseconds": 2_000_000,
        "bytes": 330_000,
        "p50": 1500,
        "p99": 9000,
        "errors": 0,
        "timeouts": 0,
    } | changes
    return f"Running 2s test\n  1 threads\nFIGURES {json.dumps(figures)}\n"


def test_what_wrk_says_is_read() -> None:
    found = load.figures("ours", _wrk(), length=1000, server_cpu=0.6, database_cpu=0.3)

    assert (found.rate, found.p50, found.p99) == (150.0, 1.5, 9.0)
    assert (found.server_cpu, found.database_cpu) == (pytest.approx(2.0), pytest.approx(1.0))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (_wrk(requests=0), "no answer"),
        (_wrk(errors=1), "every request was answered"),
        (_wrk(timeouts=1), "every request was answered"),
        (_wrk(bytes=3000), "10 bytes instead of 1000"),
        ("unable to connect", "wrk failed"),
    ],
)
def test_a_load_that_was_not_answered_is_no_figure(said: str, reason: str) -> None:
    with pytest.raises(LoadFailed, match=reason):
        load.figures("ours", said, length=1000, server_cpu=0, database_cpu=0)


@pytest.mark.parametrize(("rate", "seconds"), [(10_000.0, 2), (30.0, 4), (6.0, 10), (1.5, 16)])
def test_a_slow_server_gets_more_time_for_some_answers_on_every_connection(rate: float, seconds: int) -> None:
    assert bout_seconds(rate, Plan(Load(connections=12, seconds=2), rounds=1, warm_up=1)) == seconds


def test_statements_are_told_apart_in_the_log_of_postgresql() -> None:
    log = (
        "2026-01-01 00:00:00.000 UTC [1] LOG:  statement: BEGIN\n"
        "2026-01-01 00:00:00.000 UTC [1] LOG:  execute _pg3_0: SELECT 1\n\tFROM payer\n"
        "2026-01-01 00:00:00.000 UTC [1] DETAIL:  Parameters: $1 = 'LOG:  statement: no'\n"
    )

    found = split(log)
    assert len(found) == 2
    assert found[0].strip() == "BEGIN"
    assert "FROM payer" in found[1]


def test_quick_measures_little_and_is_not_the_run_that_others_are_compared_with() -> None:
    options = command.options_of(["--quick"])
    plan = Plan(Load(12, options.seconds), options.rounds, options.warm_up)

    assert (options.rows, options.rounds, options.seconds) == (0.01, 1, 1)
    assert command.result_name(options, plan) == "trial"
    assert command.options_of(["--quick", "--connections", "1,12"]).connections == [1, 12]


@pytest.mark.parametrize(
    ("arguments", "connections", "name"),
    [
        ([], 12, "latest"),
        (["--rounds", "9", "--seconds", "5"], 12, "latest"),
        (["--connections", "1"], 1, "connections-1"),
        (["--workers", "1,2"], 12, "workers"),
        (["--pin"], 12, "pin"),
        (["--servers", "ours_auto,floor"], 12, "trial"),
        (["--rows", "0.5"], 12, "trial"),
    ],
)
def test_results_are_named_after_what_is_special(arguments: list[str], connections: int, name: str) -> None:
    assert command.result_name(command.options_of(arguments), Plan(Load(connections, 2), 5, 2)) == name


def test_every_way_of_execution_is_measured() -> None:
    assert {"ours_auto", "ours_reference"} <= set(OURS)
    assert set(SERVERS) == {*OURS, *PEERS}


def test_strawberry_django_is_measured_as_its_guide_has_it_and_tuned() -> None:
    stock, tuned = SERVERS["stock_strawberry_django"], SERVERS["tuned_strawberry_django"]

    assert {stock.name, tuned.name} <= set(command.options_of([]).servers)
    assert PYTHON_PEERS[stock.name] == PYTHON_PEERS[tuned.name]
    assert [tuned.document(query) for query in ("q1", "q2", "q3", "q5")] == [
        stock.document(query) for query in ("q1", "q2", "q3", "q5")
    ]
    assert command.result_name(command.options_of(["--servers", "ours_auto,stock_strawberry_django"]), PLAN) == "trial"


def test_the_middleware_of_the_peers_forces_no_view_into_threads() -> None:
    def synchronous(_request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    async def asynchronous(_request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    assert (tenant.sync_capable, tenant.async_capable) == (True, True)
    assert not iscoroutinefunction(tenant(synchronous))
    assert iscoroutinefunction(tenant(asynchronous))


@pytest.mark.parametrize("peer", [*PYTHON_PEERS])
def test_how_a_python_peer_is_started_names_what_its_folder_has(peer: str, tmp_path: Path) -> None:
    database = Database(EmbeddedServer(tmp_path), "bench", stamp={}, tenants={})
    setup = Setup(database, {peer: Installation(tmp_path, "lock", Path("python"))})

    words, environment, folder = SERVERS[peer].start(setup, 8000, Variant(workers=2))
    target = str(words[-1])

    assert (folder / f"{target.partition(':')[0]}.py").is_file()
    assert str(folder) in environment["PYTHONPATH"].split(os.pathsep)
    assert words[list(words).index("--workers") + 1] == 2
    assert SERVERS[peer].asgi == ("wsgi" not in words)


def test_an_answer_is_right_wrong_or_of_another_organization() -> None:
    page = {"nodes": [{"id": _ours(KEY), "name": "a"}]}
    judge = Judge(
        {(1, "page"): canonical(_body({"list": page}))}, {1: frozenset({str(KEY)}), 2: frozenset({str(OTHER)})}
    )
    changed = {"nodes": [{"id": _ours(KEY), "name": "b"}]}
    foreign = {"nodes": [{"id": _ours(OTHER), "name": "a"}]}

    assert [judge.verdict(1, "page", _body({"list": page})) for _ in range(2)] == [Verdict.RIGHT, Verdict.RIGHT]
    assert judge.verdict(1, "page", _body({"list": changed})) is Verdict.WRONG
    assert judge.verdict(1, "page", _body({"list": foreign})) is Verdict.FOREIGN
    assert judge.verdict(1, "page", b'{"data":{"list"') is Verdict.WRONG


def test_errors_are_excused_only_while_something_is_away() -> None:
    tally = Tally()
    tally.note(Verdict.ERROR, error="with a worker away: ReadError")
    assert tally.unexcused == 0
    tally.note(Verdict.ERROR, error=f"{QUIET}: ReadError", example="why")

    assert tally.unexcused == 1
    assert tally.examples[f"{QUIET}: ReadError"] == "why"


@pytest.mark.parametrize("peer", sorted(set(PYTHON_PEERS.values())))
def test_every_locked_version_of_a_peer_has_its_hashes(peer: str) -> None:
    lock = (PEERS_FOLDER / peer / "requirements.txt").read_text()

    pins = re.findall(r"^[a-z][^\n]*==[^\n]*\\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[A-Za-z]", lock, re.MULTILINE)) > 10


def test_every_locked_package_of_the_node_peer_has_its_integrity() -> None:
    lock = json.loads((PEERS_FOLDER / "postgraphile" / "package-lock.json").read_text())
    packages = {name: found for name, found in lock["packages"].items() if name}

    assert len(packages) > 20
    assert [name for name, found in packages.items() if "integrity" not in found] == []


@pytest.mark.parametrize(
    ("name", "failures", "lost", "twice", "wrong"),
    [
        ("kill -9 of one backend", {"write: INTERNAL, try again": 3, "read: TIMEOUT, try again": 1}, 0, 0, []),
        ("kill -9 of one backend", {"write: INTERNAL": 2}, 0, 0, ["2 x write: INTERNAL"]),
        ("kill -9 of one backend", {"write: ReadError": 1}, 0, 0, ["1 x write: ReadError"]),
        ("lock_timeout", {"read: INTERNAL, try again": 1}, 0, 0, ["1 x read: INTERNAL, try again"]),
        ("lock_timeout", {}, 1, 2, ["1 acknowledged writes are lost", "2 writes were done twice"]),
    ],
)
def test_a_fault_is_judged_by_what_is_lost_and_what_clients_saw(
    name: str, failures: dict[str, int], lost: int, twice: int, wrong: list[str]
) -> None:
    [fault] = [fault for fault in FAULTS if fault.name == name]
    outcome = Outcome(name, Counter(failures), 10, lost, twice, 1.0)

    assert outcome.broken(fault) == wrong
