"""`/metrics` of running servers, read as Prometheus reads it: what it tells, to whom, and what never stands there."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from backend.accounts.models import Organization
from backend.core.tenancy import acting_for
from benchmarks.serving import GRANIAN, REPOSITORY
from tests import factories as make
from tests import server
from tests.asgi import bearer
from tests.live import socket
from tests.sealing import wait_until_all_can_be_sealed
from tests.serving import Serving, serving
from tests.threads import in_thread

TOKEN = "m" * 40
PAYERS = "query Secretname { payers { nodes { name } } }"
MISSING = '{ node(id: "UFkAAAAAAAAAAAAAAAAAAAAA") { id } }'
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def plain(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(database, tmp_path_factory.mktemp("metrics")) as found:
        yield found


def _get(where: Serving, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value.encode("latin-1") for name, value in headers.items()}
    return httpx.get(f"{where.url}/metrics", headers=sent)


def _figures(where: Serving) -> Figures:
    answer = _get(where)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _ask(where: Serving, headers: Mapping[str, str], query: str) -> httpx.Response:
    return httpx.post(f"{where.url}/graphql", json={"query": query}, headers=headers)


def _grown(before: Figures, after: Figures, name: str) -> dict[tuple[str, ...], float]:
    """By how much a counter has grown, by the values of its labels in the order of their names."""
    grown = {
        tuple(value for _, value in labels): after[found, labels] - before.get((found, labels), 0.0)
        for found, labels in after
        if found == name
    }
    return {labels: by for labels, by in grown.items() if by}


def test_operations_are_counted_one_by_one_and_by_what_became_of_them(
    plain: Serving, organization: Organization
) -> None:
    token = bearer(organization)
    _ask(plain, token, "{ __typename }")  # the token is known from here on
    before = _figures(plain)

    for query in (PAYERS, PAYERS, MISSING, "{ viewer { role } }", "{ nothing }", "{", 'mutation { nothing(id: "7") }'):
        _ask(plain, token, query)
    _ask(plain, {"authorization": "Bearer dg_" + "x" * 43}, PAYERS)

    after = _figures(plain)
    assert _grown(before, after, "driftgraph_operations_total") == {
        ("OK", "query", "sql"): 3.0,
        ("OK", "query", "compiled"): 1.0,
        ("GRAPHQL_VALIDATION_FAILED", "query", "none"): 1.0,
        ("GRAPHQL_VALIDATION_FAILED", "mutation", "none"): 1.0,
        ("GRAPHQL_PARSE_FAILED", "none", "none"): 1.0,
    }
    assert _grown(before, after, "driftgraph_operation_duration_seconds_count") == {("query",): 5.0, ("mutation",): 1.0}
    assert _grown(before, after, "driftgraph_http_responses_total") == {("200",): 7.0, ("401",): 1.0}


def test_a_budget_that_is_spent_is_an_outcome(database: str, organization: Organization, tmp_path: Path) -> None:
    token = bearer(organization)
    with serving(database, tmp_path, DRIFTGRAPH_COST_PER_MINUTE="700") as small:
        # It costs 500, so that a minute has one, and no two minutes four.
        statuses = [_ask(small, token, "{ accessReview { actorCount } }").status_code for _ in range(4)]
        figures = _figures(small)

    refused = statuses.count(429)
    assert refused >= 2
    labels = (("outcome", "RATE_LIMITED"), ("type", "query"), ("way", "none"))
    assert figures["driftgraph_operations_total", labels] == refused


async def test_streams_are_counted_while_they_are_open(plain: Serving, organization: Organization) -> None:
    token = await in_thread(lambda: bearer(organization))
    key = ("driftgraph_streams_open", ())

    async with socket(plain.url) as live:
        await live.init(Authorization=token["authorization"])
        opened = await in_thread(lambda: _figures(plain))
    for _ in range(600):
        closed = await in_thread(lambda: _figures(plain))
        if not closed[key]:
            break
        await asyncio.sleep(0.05)

    assert (opened[key], closed[key]) == (1.0, 0.0)


def _seal(database: str) -> tuple[int, str, float]:
    """Number, hash and time of a new seal over all entries that there are."""
    with psycopg.connect(server.url("postgres", database), autocommit=True) as superuser:
        wait_until_all_can_be_sealed(superuser)
    with psycopg.connect(server.url("app", database), autocommit=True) as app:
        row = app.execute("SELECT seq, encode(hash, 'hex'), extract(epoch FROM sealed_at) FROM audit_seal_make()")
        [(seq, digest, at)] = row.fetchall()
    return seq, digest, float(at)


def test_the_latest_seal_is_told_and_what_has_none_yet(
    plain: Serving, database: str, organization: Organization
) -> None:
    with acting_for(organization.id):
        make.payer(organization)
    waiting = _figures(plain)
    seq, digest, at = _seal(database)
    sealed = _figures(plain)
    if sealed["driftgraph_audit_unsealed_entries", ()]:  # what a test before this one had the server write in its time
        waiting = sealed
        seq, digest, at = _seal(database)
        sealed = _figures(plain)

    assert waiting["driftgraph_audit_unsealed_entries", ()] >= 1.0
    assert waiting["driftgraph_audit_unsealed_age_seconds", ()] > 0.0
    assert waiting.get(("driftgraph_audit_seal_sequence", ()), 0.0) == seq - 1
    assert sealed["driftgraph_audit_unsealed_entries", ()] == 0.0
    assert sealed["driftgraph_audit_unsealed_age_seconds", ()] == 0.0
    assert sealed["driftgraph_audit_seal_sequence", ()] == seq
    assert sealed["driftgraph_audit_seal_info", (("hash", digest),)] == 1.0
    assert sealed["driftgraph_audit_seal_timestamp_seconds", ()] == pytest.approx(at, abs=0.001)
    assert sealed["driftgraph_database_up", ()] == 1.0
    assert sealed["driftgraph_migrations_pending", ()] == 0.0


def test_labels_have_values_of_closed_sets_and_say_nothing_of_anybody(
    plain: Serving, organization: Organization
) -> None:
    with acting_for(organization.id):
        name = make.payer(organization).name
    token = bearer(organization)
    for query in (PAYERS, PAYERS.replace("Secretname", "OtherSecretname"), "query Bad { secretfield }"):
        _ask(plain, token, query)

    text = _get(plain).text

    assert not [secret for secret in (str(organization.id), organization.id.hex, name) if secret in text]
    assert "ecret" not in text
    known = set(re.findall(r"^\| `([A-Z_]+)` \|", (REPOSITORY / "docs/errors.md").read_text(), re.MULTILINE))
    allowed = {
        "outcome": known | {"OK", "CANCELLED"},
        "type": {"query", "mutation", "subscription", "none"},
        "way": {"sql", "compiled", "mixed", "reference", "none"},
        "status": {"200", "400", "401", "429"},
    }
    for metric, labels in _figures(plain):
        for label, value in labels if metric.startswith("driftgraph_") else ():
            if label == "hash":
                assert re.fullmatch("[0-9a-f]{64}", value)
            elif label != "le":
                assert value in allowed[label]


def test_the_process_and_its_pool_are_told_in_either_format(plain: Serving) -> None:
    figures = _figures(plain)
    answer = _get(plain, accept="application/openmetrics-text; version=1.0.0")

    assert figures["process_resident_memory_bytes", ()] > 0
    assert figures["driftgraph_read_pool_max", ()] == 8.0
    assert figures["driftgraph_read_pool_waiting", ()] == 0.0
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in open_metrics(answer.text)} >= {"driftgraph_operations", "driftgraph_database_up"}


def test_with_a_token_only_who_sends_it_is_answered(database: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with serving(database, tmp_path / "data", DRIFTGRAPH_METRICS_TOKEN_FILE=str(tmp_path / "token")) as kept:
        answers = {
            given: _get(kept, **({"authorization": given} if given else {}))
            for given in ("", f"Bearer {TOKEN[:-1]}x", f"Bearer {TOKEN}é", f"Basic {TOKEN}", f"Bearer {TOKEN}")
        }

    good = answers.pop(f"Bearer {TOKEN}")
    assert good.status_code == 200
    assert {(one.status_code, one.json()["code"]) for one in answers.values()} == {(401, "UNAUTHENTICATED")}
    assert {one.headers["www-authenticate"] for one in answers.values()} == {"Bearer"}
    assert not [one for one in answers.values() if "driftgraph_" in one.text]


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip", "via"])
def test_without_a_token_nobody_is_answered_through_a_proxy_on_this_machine(plain: Serving, header: str) -> None:
    answer = _get(plain, **{header: "203.0.113.7"})

    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_without_a_token_nobody_is_answered_from_elsewhere(database: str, tmp_path: Path) -> None:
    # What a proxy says that is trusted is the address of the client.
    with serving(database, tmp_path, DRIFTGRAPH_TRUSTED_PROXIES="127.0.0.1") as found:
        answer = _get(found, x_forwarded_for="203.0.113.7")

    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert "driftgraph_" not in answer.text


def test_two_processes_add_up(database: str, organization: Organization, tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    counts.mkdir()
    token = bearer(organization)
    words = (*GRANIAN, "--workers", "2")
    with serving(database, tmp_path / "data", server_words=words, PROMETHEUS_MULTIPROC_DIR=str(counts)) as found:
        asked = 0
        with ThreadPoolExecutor(8) as threads:
            while min(answered := _answered_by_process(counts), default=0) == 0 or len(answered) < 2:
                assert asked < 4_000, answered
                list(threads.map(lambda _: _ask(found, token, PAYERS), range(40)))
                asked += 40
        seen = {
            value
            for _ in range(20)
            for (name, labels), value in _figures(found).items()
            if name == "driftgraph_operations_total" and ("outcome", "OK") in labels
        }
        pools = _figures(found)["driftgraph_read_pool_max", ()]

    assert seen == {float(asked)}
    assert pools == 16.0


def _answered_by_process(counts: Path) -> list[float]:
    """How many operations each process has answered, as its own file has it."""
    return [
        sum(
            sample.value
            for metric in MultiProcessCollector.merge([str(path)])
            for sample in metric.samples
            if sample.name == "driftgraph_operations_total"
        )
        for path in counts.glob("counter_*.db")
    ]
