"""The Python client gql against a running server; its script is the example of docs/clients.md."""

import json
import sys

from tests.clients.payers import NAMES, Asked, printed_by


def test_gql_reads_the_schema_pages_and_tells_errors(asked: Asked) -> None:
    [found] = printed_by([sys.executable, "gql_client.py"], asked)

    assert json.loads(found) == {"names": NAMES, "codes": ["INVALID_CURSOR", "BAD_USER_INPUT"]}
