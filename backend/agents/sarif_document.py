"""SARIF bytes to a validated JSON object, within limits. What the object means is read elsewhere.

The whole document is validated against the OASIS schema of SARIF 2.1.0 with Errata 01, every result of it;
nothing is sampled. The validator is jsonschema-rs, since jsonschema compares the elements of arrays with
`uniqueItems` (rules, artifacts) pairwise, which makes a valid document of a few thousand artifacts take
minutes. Two departures, both towards leniency: formats (`uri`, `date-time`) are not asserted, because
scanners write paths with spaces as URIs and the readers of both cope; and `results: null`, which the text of
the standard gives to runs that could not start and its schema forbids, counts as absent.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson

from backend.core.errors import BadUserInput, LimitExceeded

SARIF_VERSION = "2.1.0"
MAX_DEPTH = 100  # a code flow's message is 17 deep; the native validator recurses, and its stack must not overflow
MAX_RUNS = 20  # runs of one document, GitHub's limit too

_SCHEMA_FILE = Path(__file__).parent / "schemas" / "sarif-2.1.0.json"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MASK = "value"

Json = dict[str, Any]


class SarifUnreadable(BadUserInput):
    """The SARIF file cannot be read."""


class SarifNotJson(BadUserInput):
    """The document is not JSON in UTF-8, so it is not SARIF (line {line}, column {column})."""


class SarifNotAnObject(BadUserInput):
    """The document is JSON but not an object, so it is not SARIF."""


class SarifTooDeep(BadUserInput):
    """The SARIF document is nested more than {limit} levels deep."""


class SarifWrongVersion(BadUserInput):
    """The document does not say "version": "2.1.0". Other versions of SARIF are not read."""


class SarifSchemaViolation(BadUserInput):
    """The document breaks the schema of SARIF 2.1.0 at {where} (keyword "{keyword}")."""


class SarifWithoutRuns(BadUserInput):
    """The SARIF document holds no run."""


def read_bytes(source: bytes | os.PathLike[str], *, max_bytes: int) -> bytes:
    """The bytes of the document, never more than `max_bytes` of them held.

    Raises:
        SarifUnreadable: There is no such file, or it is not ours to read.
        LimitExceeded: The document is larger than `max_bytes`.
    """
    if not isinstance(source, bytes):
        try:
            with Path(source).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                source = file.read(max_bytes + 1)
        except (OSError, ValueError):
            raise SarifUnreadable from None
    else:
        size = len(source)
    if len(source) > max_bytes:
        raise LimitExceeded(
            what="The size of the SARIF document in bytes",
            actual=size,
            limit=max_bytes,
            setting="DRIFTGRAPH_MAX_SARIF_BYTES",
        )
    return source


def validated_document(data: bytes, *, max_results: int) -> Json:
    """The document as a JSON object that holds to the schema, with at least one run and no run above `max_results`.

    Raises:
        BadUserInput: One of the classes of this module, or LimitExceeded. Messages name places, never values.
    """
    document = _parsed(data)
    _refuse_depth(document)
    if document.get("version") != SARIF_VERSION:
        raise SarifWrongVersion(path=("version",))
    _check_envelope(document, max_results)
    error = next(_validator().iter_errors(document), None)
    if error is not None:
        path = _named_path(error.instance_path)
        keyword = next((part for part in reversed(error.schema_path) if isinstance(part, str)), "schema")
        raise SarifSchemaViolation(where="/".join(path) or "the top", keyword=keyword, path=path)
    if not document["runs"]:
        raise SarifWithoutRuns(path=("runs",))
    return document


def _parsed(data: bytes) -> Json:
    try:
        document = orjson.loads(data.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        if "depth" in error.msg or "ecursion" in error.msg:
            raise SarifTooDeep(limit=MAX_DEPTH) from None
        raise SarifNotJson(line=error.lineno, column=error.colno) from None
    if not isinstance(document, dict):
        raise SarifNotAnObject
    return document


def _refuse_depth(document: Json) -> None:
    level: list[Any] = [document]
    for _ in range(MAX_DEPTH):
        level = [
            value
            for container in level
            for value in (container.values() if type(container) is dict else container)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return
    raise SarifTooDeep(limit=MAX_DEPTH)


def _check_envelope(document: Json, max_results: int) -> None:
    """Counts before the schema does, so that a document over a limit is told so and costs little."""
    runs = document.get("runs")
    if not isinstance(runs, list):
        return
    if len(runs) > MAX_RUNS:
        raise LimitExceeded(
            what="The number of runs", actual=len(runs), limit=MAX_RUNS, setting="fixed", path=("runs",)
        )
    for position, run in enumerate(runs):
        if not isinstance(run, dict):
            continue
        results = run.get("results")
        if results is None:
            run.pop("results", None)
        elif isinstance(results, list) and len(results) > max_results:
            raise LimitExceeded(
                what="The number of results of one run",
                actual=len(results),
                limit=max_results,
                setting="fixed",
                path=("runs", str(position), "results"),
            )


@cache
def _schema() -> Json:
    schema: Json = orjson.loads(_SCHEMA_FILE.read_bytes())
    return schema


@cache
def _validator() -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft4Validator(_schema(), validate_formats=False, mask=_MASK)


@cache
def _property_names() -> frozenset[str]:
    objects = (_schema(), *_schema()["definitions"].values())
    return frozenset(name for item in objects for name in item.get("properties", ()))


def _named_path(path: list[str | int]) -> tuple[str, ...]:
    """The path with "*" for keys that the producer chose, which may be anything."""
    return tuple(str(part) if isinstance(part, int) or part in _property_names() else "*" for part in path)
