"""What documents leave to the collector of garbage, while which nothing else goes on: as little as can be."""

from graphql import DocumentNode, NameNode, Node, SelectionSetNode
from graphql.language.ast import QUERY_DOCUMENT_KEYS


def unlink(document: DocumentNode) -> None:
    """Nothing; the document's tokens no longer refer to each other, so it is freed as soon as nobody uses it."""
    token = document.loc.start_token if document.loc else None
    while token is not None:
        following, token.next, token.prev = token.next, None, None
        token = following


def lighten(document: DocumentNode) -> int:
    """How many nodes it has; drops what nobody asks a valid document for: its tokens, and where its names stand.

    Errors of its execution are of fields, arguments and values.
    """
    first = document.loc.start_token if document.loc else None
    found: list[Node] = [document]
    count = 0
    while found:
        node = found.pop()
        count += 1
        for name in QUERY_DOCUMENT_KEYS.get(node.kind, ()):  # its vars() would be one more object for each
            value = getattr(node, name)
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, tuple):
                found += value
        if isinstance(node, (NameNode, SelectionSetNode)):
            object.__setattr__(node, "loc", None)  # past the guard of a frozen dataclass
        elif node.loc is not None and first is not None:
            node.loc.start_token = node.loc.end_token = first
    return count
