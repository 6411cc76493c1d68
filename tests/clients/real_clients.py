"""Clients of others against a running server: those that need Node or curl, so `make tooling` runs these.

What the scripts print is what they found; they are the examples of docs/clients.md.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.payers import NAMES, Asked, payers_served, printed_by

HERE = Path(__file__).parent


def test_every_audit_of_graphql_over_http_passes(asked: Asked) -> None:
    [found] = printed_by(["node", "audits.mjs"], asked)

    assert json.loads(found) == {"audits": 61, "failed": []}


def test_relay_appends_pages_to_its_connection_by_trusted_documents(database: str, tmp_path: Path) -> None:
    subprocess.run(["npm", "run", "--silent", "relay"], cwd=HERE, check=True, capture_output=True)
    manifest = str(HERE / "relay" / "__generated__" / "documents.json")
    trusting = {"DRIFTGRAPH_DOCUMENTS": "trusted", "DRIFTGRAPH_DOCUMENTS_MANIFEST": manifest}

    with payers_served(database, tmp_path, **trusting) as asked:
        [found] = printed_by(["node", "relay.mjs"], asked)

    assert json.loads(found) == {"names": NAMES, "codes": ["INVALID_CURSOR"]}


@pytest.mark.parametrize(("script", "first_text"), [("apollo.mjs", "POST text"), ("urql.mjs", "GET text")])
def test_a_client_merges_pages_and_sends_hashes_by_get(script: str, first_text: str, asked: Asked) -> None:
    [line] = printed_by(["node", script], asked)
    found = json.loads(line)

    assert found["names"] == NAMES
    assert found["codes"] == ["INVALID_CURSOR", "BAD_USER_INPUT"]
    # The hash is not known, then sent with the text, and from then on enough, also for others.
    assert found["ofPages"] == ["GET hash", first_text, "GET hash", "GET hash"]
    assert found["ofAnotherClient"] == ["GET hash"]


def test_curl_asks_keeps_an_answer_and_tries_again(asked: Asked) -> None:
    asked_once, first, again, mapped, tried_again = printed_by(["bash", "curl.sh"], asked)

    assert json.loads(asked_once)["data"]["payers"]["nodes"] == [{"name": name} for name in NAMES[:2]]
    assert (first, again) == ("200", "304")
    assert json.loads(mapped)["data"]["payerMap"]["payer"]["name"] == NAMES[0]
    assert json.loads(mapped)["data"] == json.loads(tried_again)["data"]


def test_a_page_sends_on_the_token_of_what_it_wrote(asked: Asked) -> None:
    [line] = printed_by(["node", "tokens.mjs"], asked)

    assert json.loads(line) == {"sent": True, "names": NAMES[:1]}


@pytest.mark.parametrize("script", ["graphql_ws.mjs", "graphql_sse.mjs", "urql_events.mjs"])
def test_a_run_is_followed_to_its_end_and_taken_up_again(script: str, asked: Asked) -> None:
    [line] = printed_by(["node", script], asked)
    found = json.loads(line)

    told = [(event["phase"], event["done"], event["status"]) for event in found["seen"]]
    assert told == [("", None, "RUNNING"), ("reading", 3, "RUNNING"), ("", None, "SUCCEEDED")]
    assert found["again"] == found["seen"][1:]
    assert found["codes"] == ["INVALID_CURSOR"]
