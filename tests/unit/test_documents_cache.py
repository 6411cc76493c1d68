"""Documents are parsed and validated once, the product's own before anybody asks for them."""

import pytest

from schema.execution import documents
from schema.execution.documents import OPERATIONS, prepare, warm


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
