"""Documents are parsed and validated once, the product's own before anybody asks for them."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest
from graphql import DocumentNode, FieldNode, get_location

from schema.build import core_schema
from schema.execution import documents
from schema.execution.documents import OPERATIONS, known, prepare, prepared, warm
from schema.execution.turns import Party, Turns
from schema.limits import parsed
from schema.validity import problems

_MEMBER, _STRANGER = Party("m", is_known=True), Party("s", is_known=False)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is not freed by itself stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_server_that_is_warm_has_the_products_own_documents_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [path.read_text() for path in sorted(OPERATIONS.glob("*.graphql"))]

    assert warm() == len(texts) > 0

    def refuse(_text: str) -> None:
        raise AssertionError("parsed again")

    monkeypatch.setattr(documents, "parsed", refuse)
    assert all(prepare(text, None).errors == [] for text in texts)


def test_a_text_is_prepared_once_per_operation() -> None:
    text = "query A { viewer { role } } query B { viewer { rights } }"

    first, again, other = prepare(text, "A"), prepare(text, "A"), prepare(text, "B")

    assert first is again is not other
    assert (first.name, other.name) == ("A", "B")


@pytest.mark.parametrize("length", [0, 300])
async def test_strangers_push_out_no_document_of_who_is_signed_in(length: int) -> None:
    turns, comment = Turns(), f"# {'a' * length}"
    mine = await prepared(f"query Mine{length} {{ viewer {{ role }} }} {comment}", None, turns, _MEMBER)

    for number in range(600):
        await prepared(f"query S{number} {{ viewer {{ role }} }} {comment}", None, turns, _STRANGER)

    assert known(mine.text, None) is mine
    assert known(f"query S599 {{ viewer {{ role }} }} {comment}", None) is not None
    assert known(f"query S1 {{ viewer {{ role }} }} {comment}", None) is None


async def test_a_trusted_document_stays_whoever_sent_it_first() -> None:
    turns, text = Turns(), "query Trusted { viewer { role } }"
    trusted = await prepared(text, None, turns, _STRANGER, is_trusted=True)

    for number in range(40):
        await prepared(f"query T{number} {{ viewer {{ role }} }}", None, turns, _STRANGER)

    assert known(text, None) is trusted


@pytest.mark.usefixtures("no_collector")
def test_a_document_that_nobody_uses_is_freed_at_once() -> None:
    document = parsed("{ viewer { role } }")
    seen = weakref.ref(document)

    del document

    assert seen() is None


@pytest.mark.usefixtures("no_collector")
def test_validation_leaves_no_more_to_the_collector_of_a_large_document_than_of_a_small_one() -> None:
    schema = core_schema()

    def left(work: Callable[[], object]) -> int:
        work()
        return gc.collect()

    small, large = parsed("{ payers { nodes { id } } }"), parsed(f"{{ {'payers { nodes { id } } ' * 40} }}")
    left(lambda: problems(schema, small, at_most=10))  # what is made once

    by_small = left(lambda: problems(schema, small, at_most=10))
    by_large = left(lambda: problems(schema, large, at_most=10))

    assert by_large <= by_small + 500  # the small one's is about 250, and the large one's was 11,000


def test_a_document_that_is_kept_has_no_tokens_and_still_says_where_its_fields_stand() -> None:
    operation = prepare("query Where {\n  viewer { role }\n}", None).operation
    field = operation.selection_set.selections[0]

    assert isinstance(field, FieldNode)
    assert field.loc is not None
    assert field.loc.start_token is field.loc.end_token
    assert field.loc.start_token.next is None
    assert field.name.loc is None
    assert get_location(field.loc.source, field.loc.start) == (2, 3)


@pytest.mark.parametrize("party", [_MEMBER, _STRANGER])
async def test_no_document_is_looked_at_by_the_event_loop(monkeypatch: pytest.MonkeyPatch, party: Party) -> None:
    """A short one can take 15 ms, and many can come at once."""
    real, threads = documents.parsed, list[threading.Thread]()

    def parsed_somewhere(text: str) -> DocumentNode:
        threads.append(threading.current_thread())
        return real(text)

    monkeypatch.setattr(documents, "parsed", parsed_somewhere)
    for text in (f"{{ a: __typename }} # {party.key}", f"{{ b: __typename }} # {party.key} {'long ' * 80}"):
        await prepared(text, None, Turns(), party)

    assert len(threads) == 2
    assert threading.current_thread() not in threads
