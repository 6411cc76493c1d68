"""One running server for the clients of others."""

from collections.abc import Iterator

import pytest

from tests.clients.payers import Asked, payers_served


@pytest.fixture(scope="package")
def asked(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Where it answers, and the token that lets one ask."""
    with payers_served(database, tmp_path_factory.mktemp("clients")) as found:
        yield found
