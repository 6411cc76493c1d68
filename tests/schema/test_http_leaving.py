"""A statement of a running server waits for a table: it ends when its deadline comes or its client hangs up."""

import json
from collections.abc import Iterator

import pytest

from backend.accounts.models import Organization
from benchmarks import leaving
from tests import server
from tests.asgi import bearer
from tests.serving import Serving, serving


@pytest.fixture(scope="module")
def patient(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(database, tmp_path_factory.mktemp("patient"), DRIFTGRAPH_DEADLINE_SECONDS="600") as found:
        yield found


def test_the_deadline_of_a_request_stops_its_statement(
    patient: Serving, database: str, organization: Organization
) -> None:
    token = bearer(organization)

    with leaving.kept_table(server.url("owner", database), server.url("app", database)) as watcher:
        _, body = leaving.late(patient.url, token, watcher)

    [error] = json.loads(body)["errors"]
    assert (error["extensions"]["code"], error["extensions"]["retryable"]) == ("TIMEOUT", True)


def test_a_client_that_hangs_up_stops_its_statement(
    patient: Serving, database: str, organization: Organization
) -> None:
    token = bearer(organization)

    # The deadline is ten minutes: the statement would stay longer than anybody waits here.
    with leaving.kept_table(server.url("owner", database), server.url("app", database)) as watcher:
        leaving.left(patient.url, token, watcher)
        leaving.until_waiting(watcher, 0)
