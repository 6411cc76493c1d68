"""What is refused before anything is read: size, depth, version, schema; and that messages hold no value."""

import copy
import hashlib

import jsonschema
import orjson
import pytest
from counted_work import counted
from hypothesis import given, settings
from hypothesis import strategies as st
from sarif_documents import a_log, a_result, a_run, as_bytes, bandit_log

from backend.agents import sarif_document
from backend.agents.sarif import MAX_RESULTS, read_sarif
from backend.core.errors import AppError, BadUserInput, LimitExceeded

SECRET = "hunter22-secret"


def nested(levels):
    return b'{"version": "2.1.0", "runs": [], "properties": {"p": ' + b"[" * levels + b"]" * levels + b"}}"


@pytest.mark.parametrize(
    ("data", "error", "path"),
    [
        (b"", sarif_document.SarifNotJson, ()),
        (b"<sarif/>", sarif_document.SarifNotJson, ()),
        (b'{"version": "2.1.0", "runs": [', sarif_document.SarifNotJson, ()),
        (b'{"version": "2.1.0", "runs": [NaN]}', sarif_document.SarifNotJson, ()),
        (as_bytes(a_log()).decode().encode("utf-16"), sarif_document.SarifNotJson, ()),
        (b"[]", sarif_document.SarifNotAnObject, ()),
        (b"null", sarif_document.SarifNotAnObject, ()),
        (b'"2.1.0"', sarif_document.SarifNotAnObject, ()),
        (b"{}", sarif_document.SarifWrongVersion, ("version",)),
        (b'{"version": "2.0.0", "runs": []}', sarif_document.SarifWrongVersion, ("version",)),
        (b'{"version": 2.1, "runs": []}', sarif_document.SarifWrongVersion, ("version",)),
        (b'{"version": "2.1.0"}', sarif_document.SarifSchemaViolation, ()),
        (b'{"version": "2.1.0", "runs": {}}', sarif_document.SarifSchemaViolation, ("runs",)),
        (b'{"version": "2.1.0", "runs": [7]}', sarif_document.SarifSchemaViolation, ("runs", "0")),
        (b'{"version": "2.1.0", "runs": []}', sarif_document.SarifWithoutRuns, ("runs",)),
        (b'{"version": "2.1.0", "runs": null}', sarif_document.SarifWithoutRuns, ("runs",)),
        (nested(99), sarif_document.SarifTooDeep, ()),
        (nested(5_000), sarif_document.SarifTooDeep, ()),
        (b"[" * 1_000_000, sarif_document.SarifTooDeep, ()),
        (as_bytes(a_log(*[a_run()] * 21)), LimitExceeded, ("runs",)),
    ],
)
def test_refuses_what_is_no_sarif_document(data, error, path):
    with pytest.raises(error) as caught:
        read_sarif(data)

    assert type(caught.value) is error
    assert caught.value.path == path
    assert caught.value.code == "BAD_USER_INPUT"


def test_accepts_depth_up_to_the_limit_and_a_byte_order_mark():
    document = a_log(a_run(properties={"p": orjson.loads(b"[" * 96 + b"]" * 96)}))

    runs = read_sarif(b"\xef\xbb\xbf" + as_bytes(document))

    assert len(runs) == 1


@pytest.mark.parametrize(
    ("spoil", "path", "keyword"),
    [
        (lambda result: result.pop("message"), ("runs", "0", "results", "0"), "required"),
        (lambda result: result.update(level=SECRET), ("runs", "0", "results", "0", "level"), "enum"),
        (lambda result: result.update({SECRET: 1}), ("runs", "0", "results", "0"), "additionalProperties"),
        (lambda result: result.update(ruleId=[SECRET]), ("runs", "0", "results", "0", "ruleId"), "type"),
        (
            lambda result: result.update(partialFingerprints={SECRET: 5}),
            ("runs", "0", "results", "0", "partialFingerprints", "*"),
            "type",
        ),
        (
            lambda result: result.update(message={"arguments": [SECRET]}),
            ("runs", "0", "results", "0", "message"),
            "anyOf",
        ),
        (
            lambda result: result["locations"][0]["physicalLocation"]["region"].update(startLine=0),
            ("runs", "0", "results", "0", "locations", "0", "physicalLocation", "region", "startLine"),
            "minimum",
        ),
    ],
)
def test_a_schema_violation_names_the_place_and_no_value(spoil, path, keyword):
    result = a_result()
    spoil(result)

    with pytest.raises(sarif_document.SarifSchemaViolation) as caught:
        read_sarif(as_bytes(a_log(a_run(result))))

    assert caught.value.path == path
    assert f'"{keyword}"' in caught.value.message
    assert "/".join(path) in caught.value.message
    assert SECRET not in f"{caught.value!r} {caught.value.details}"
    assert caught.value.__cause__ is None


def test_the_size_limit_counts_bytes_and_holds_for_files_too(tmp_path):
    data = as_bytes(bandit_log())
    file = tmp_path / "report.sarif"
    file.write_bytes(data)

    with pytest.raises(LimitExceeded) as of_bytes:
        read_sarif(data, max_bytes=len(data) - 1)
    with pytest.raises(LimitExceeded) as of_file:
        read_sarif(file, max_bytes=len(data) - 1)

    assert of_bytes.value.details == of_file.value.details
    assert of_file.value.details["actual"] == len(data)
    assert read_sarif(file, max_bytes=len(data)) == read_sarif(data, max_bytes=len(data))


@pytest.mark.parametrize("name", ["missing.sarif", ".", "\0"])
def test_a_file_that_cannot_be_read_is_the_users_fault(tmp_path, name):
    with pytest.raises(sarif_document.SarifUnreadable) as caught:
        read_sarif(tmp_path / name)

    assert str(tmp_path) not in caught.value.message


def test_the_result_limit_counts_each_run():
    document = a_log(a_run(*[a_result()] * 3), a_run(*[a_result()] * 4))

    runs = read_sarif(as_bytes(document), max_results=4)
    with pytest.raises(LimitExceeded) as caught:
        read_sarif(as_bytes(document), max_results=3)

    assert [len(run.findings) for run in runs] == [3, 4]
    assert caught.value.path == ("runs", "1", "results")


@pytest.mark.parametrize("key", ["artifacts", "rules"])
def test_the_work_of_the_largest_document_grows_with_its_elements_alone(key):
    # `rules` and `artifacts` must be unique by the schema: a validator that compares pairs needs minutes here.
    rules = [{"id": f"R{number}", "properties": {"tags": ["security", "CWE-89"]}} for number in range(20_000)]
    artifacts = [{"location": {"uri": f"app/{number}.py"}} for number in range(20_000)]
    results = [a_result(f"R{number % 100}", f"app/{number % 500}.py", number + 1) for number in range(MAX_RESULTS)]
    run = a_run(*results, rules=rules) if key == "rules" else a_run(*results, artifacts=artifacts)
    data = as_bytes(a_log(run))

    read, _ = counted(lambda: read_sarif(data, max_bytes=len(data)), at_most=1_000 * MAX_RESULTS)

    assert len({finding.fingerprint for finding in read[0].findings}) == MAX_RESULTS


def of_one_rule(results, arguments, template, **rule):
    strings = {"m": {"text": template}}
    result = {"ruleId": "R1", "message": {"id": "m", "arguments": arguments}}
    return a_run(*[result] * results, rules=[{"id": "R1", "messageStrings": strings, **rule}])


def at(location):
    return {"message": {"text": "m"}, "locations": [{"physicalLocation": {"artifactLocation": location}}]}


def deep_bases(results):
    bases = {f"B{hop}": {"uri": "a/" * 4_000, "uriBaseId": f"B{hop + 1}"} for hop in range(16)}
    return a_run(*[at({"uri": "a.py", "uriBaseId": "B0"})] * results, originalUriBaseIds=bases)


# Each has a large value that all results share, or a table that each of them may search.
SHARED = {
    "long argument": lambda results: of_one_rule(results, ["x" * 1_000], "{0}" * 50_000),
    "empty argument": lambda results: of_one_rule(results, [""], "{0}" * 50_000),
    "tags": lambda results: of_one_rule(
        results, [], "text", properties={"tags": [f"t{number}" for number in range(100_000)]}
    ),
    "rule id": lambda results: a_run(
        *[{"ruleIndex": 0, "message": {"text": "m"}}] * results, rules=[{"id": "r" * 4_000_000}]
    ),
    "rule hierarchy": lambda results: a_run(
        *[{"ruleId": "a/" * 99 + str(number), "message": {"text": "m"}} for number in range(results)],
        tool={"extensions": [{"name": f"pack {number}"} for number in range(10_000)]},
    ),
    "bases": deep_bases,
    "artifact": lambda results: a_run(
        *[at({"index": 0})] * results, artifacts=[{"location": {"uri": "a/" * 1_000_000}}]
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_results_share_is_not_paid_for_by_each(name):
    few, many = (as_bytes(a_log(SHARED[name](results))) for results in (50, 100))

    _, once = counted(lambda: read_sarif(few), at_most=4_000_000)
    read, _ = counted(lambda: read_sarif(many), at_most=once + 50 * 20_000)

    assert len(read[0].findings) == 100
    assert max(len(finding.message) for finding in read[0].findings) <= 2_000


@pytest.fixture(scope="module")
def oracle():
    """The validator that the schema's own ecosystem uses, on the same file."""
    return jsonschema.Draft4Validator(orjson.loads(sarif_document._SCHEMA_FILE.read_bytes()))


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


PLACES = [path for path in places(bandit_log()) if path and path != ("version",)]
VALUES = [None, True, 0, -2, 1.5, "", "text", [], [""], [{}, {}], {}, {"text": "a"}, {"id": "a"}, {"unknown": 1}]


@settings(max_examples=300)
@given(place=st.sampled_from(PLACES), value=st.sampled_from(VALUES))
def test_the_verdict_is_that_of_the_reference_validator(oracle, place, value):
    document = copy.deepcopy(bandit_log())
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    dropped = place == ("runs", 0, "results") and value is None

    try:
        read_sarif(as_bytes(document))
        refused = None
    except sarif_document.SarifSchemaViolation as error:
        refused = error
    except BadUserInput:
        refused = None

    assert (refused is None) == (dropped or oracle.is_valid(document))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=300)
@given(document=JSON | st.fixed_dictionaries({"version": st.just("2.1.0"), "runs": JSON}))
def test_any_json_gives_runs_or_an_error_of_the_application(document):
    try:
        runs = read_sarif(as_bytes(document))
    except AppError:
        return

    assert runs


@settings(max_examples=300)
@given(data=st.binary(max_size=200))
def test_any_bytes_give_an_error_of_the_application(data):
    with pytest.raises(AppError):
        read_sarif(data)


def test_the_schema_is_the_published_file_byte_for_byte():
    notice = sarif_document._SCHEMA_FILE.with_name("NOTICE").read_text()

    digest = hashlib.sha256(sarif_document._SCHEMA_FILE.read_bytes()).hexdigest()

    assert digest in notice
