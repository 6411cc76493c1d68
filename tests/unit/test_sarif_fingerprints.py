"""Identity of findings: it survives moved and re-indented code, and tells different findings apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sarif_documents import a_log, a_result, a_run, as_bytes

from backend.agents.fingerprint import chosen_fingerprint, fingerprint_of, producer_fingerprint_of
from backend.agents.sarif import read_sarif

WORD = st.text(st.characters(blacklist_categories=("Z", "C")), min_size=1, max_size=8)
GAP = st.sampled_from([" ", "  ", "\t", "\n    ", "\u00a0"])


def findings_of(*results):
    (run,) = read_sarif(as_bytes(a_log(a_run(*results))))
    return run.findings


def fingerprints_of(*results):
    return [finding.fingerprint for finding in findings_of(*results)]


def test_the_digest_is_fixed():
    digest = fingerprint_of("ruff", "S608", "app/models.py", "  sql =  text\n", 0)

    assert digest.hex() == "7be23946dd8fb22e433d156edfbd1721c4bf310bdfd24c79c31762db229fc634"


@given(words=st.lists(WORD, max_size=6), gaps=st.lists(GAP, min_size=14, max_size=14))
def test_white_space_does_not_matter_but_words_do(words, gaps):
    spaced = gaps[0] + "".join(word + gap for word, gap in zip(words, gaps[1:], strict=False))

    same = fingerprint_of("t", "r", "p", spaced, 0)

    assert same == fingerprint_of("t", "r", "p", " ".join(words), 0)
    assert same != fingerprint_of("t", "r", "p", " ".join([*words, "more"]), 0)


PARTS = st.tuples(*[st.text(max_size=4)] * 3, st.text("ab", max_size=4), st.integers(0, 3))


@given(left=PARTS, right=PARTS)
def test_different_parts_have_different_digests(left, right):
    assert (fingerprint_of(*left) == fingerprint_of(*right)) == (left == right)
    assert len(fingerprint_of(*left)) == 32


def test_parts_are_not_run_together_and_kinds_do_not_mix():
    assert fingerprint_of("ab", "c", "p", "", 0) != fingerprint_of("a", "bc", "p", "", 0)
    assert fingerprint_of("t", "r", "p", "k", 0) != producer_fingerprint_of("t", "r", "p", ("k", ""), 0)


def test_a_lone_surrogate_has_a_digest_too():
    assert fingerprint_of("t", "r", "\ud800", "", 0) != fingerprint_of("t", "r", "", "", 0)


@given(
    lines=st.lists(st.sampled_from(["a = 1", "b = 2", "c  =  3", None]), min_size=1, max_size=8),
    moved=st.integers(1, 500),
    indent=st.sampled_from(["", "    ", "\t"]),
    data=st.data(),
)
def test_moved_and_indented_code_in_any_order_of_report_keeps_its_identities(lines, moved, indent, data):
    before = [a_result(line=number + 1, snippet=line) for number, line in enumerate(lines)]
    after = [
        a_result(line=number + 1 + moved, snippet=None if line is None else f"{indent}{line}\n")
        for number, line in enumerate(lines)
    ]
    order = data.draw(st.permutations(range(len(lines))))

    known = fingerprints_of(*before)
    again = fingerprints_of(*(after[position] for position in order))

    assert again == [known[position] for position in order]
    assert len(set(known)) == len(known)


@pytest.mark.parametrize("other", [{"rule": "R2"}, {"path": "app/other.py"}, {"snippet": "y = 2"}])
def test_rule_path_and_line_tell_findings_apart(other):
    first, second = fingerprints_of(a_result(snippet="x = 1"), a_result(**{"snippet": "x = 1", **other}))

    assert first != second


def test_the_formula_is_the_published_one():
    first, second = findings_of(a_result(snippet=" x  = 1\n", line=2), a_result(snippet="x = 1", line=9))

    assert first.fingerprint == fingerprint_of("scan", "R1", "app/models.py", "x = 1", 0)
    assert second.fingerprint == fingerprint_of("scan", "R1", "app/models.py", "x = 1", 1)


def with_context(start, text, line=3):
    result = a_result(line=line)
    context = {"startLine": start, "snippet": {"text": text}}
    result["locations"][0]["physicalLocation"]["contextRegion"] = context
    return result


def test_of_a_context_only_the_line_itself_counts():
    lone, *others = fingerprints_of(a_result(snippet="bad()", path="a.py"))
    neighbours = findings_of(
        with_context(2, "one\nbad()\nthree"),
        with_context(1, "zero\n1\n  bad()\n"),
    )
    outside = findings_of(with_context(7, "bad()"))

    assert not others
    assert lone == fingerprint_of("scan", "R1", "a.py", "bad()", 0)
    assert [finding.fingerprint for finding in neighbours] == [
        fingerprint_of("scan", "R1", "app/models.py", "bad()", occurrence) for occurrence in (0, 1)
    ]
    assert outside[0].fingerprint == fingerprint_of("scan", "R1", "app/models.py", "bad()", 0)


def test_a_logical_name_identifies_where_there_is_no_source():
    def located(name):
        return a_result(locations=[{"logicalLocations": [{"fullyQualifiedName": name}]}])

    first, second = fingerprints_of(located("table.claim"), located("table.payer"))

    assert first == fingerprint_of("scan", "R1", "", "table.claim", 0)
    assert second == fingerprint_of("scan", "R1", "", "table.payer", 0)


LINE_HASH = "39fa2ee980eb94b0:1"


@pytest.mark.parametrize(
    ("sources", "chosen"),
    [
        ([], None),
        ([None, {}], None),
        ([{"a": "short"}], None),
        ([{"matchBasedId/v1": "requires login"}], None),
        ([{"matchBasedId/v1": "requires login"}, {"b/v1": LINE_HASH}], ("b/v1", LINE_HASH)),
        ([{"full/v1": "f" * 40}, {"primaryLocationLineHash": LINE_HASH}], ("full/v1", "f" * 40)),
        (
            [{"alpha": "a" * 16, "primaryLocationLineHash": LINE_HASH, "primaryLocationStartColumnFingerprint": "4"}],
            ("primaryLocationLineHash", LINE_HASH),
        ),
        ([{"beta/v2": "2" * 16, "beta/v10": "x" * 16, "gamma": "3" * 16}], ("beta/v2", "2" * 16)),
        ([{"b/v1": "b" * 16, "a/v9": "a" * 16}], ("a/v9", "a" * 16)),
    ],
)
def test_one_of_several_producer_fingerprints_is_chosen(sources, chosen):
    assert chosen_fingerprint(*sources) == chosen


def test_a_producers_fingerprint_outweighs_the_line():
    partial = {"primaryLocationLineHash": LINE_HASH}

    before = fingerprints_of(a_result(snippet="x = 1", partialFingerprints=partial))
    after = fingerprints_of(a_result(snippet="x = 2", line=40, partialFingerprints={**partial, "zeta/v1": "z" * 16}))
    full = fingerprints_of(a_result(snippet="x = 1", fingerprints={"id/v1": "i" * 16}, partialFingerprints=partial))

    assert before == after
    assert before == [producer_fingerprint_of("scan", "R1", "app/models.py", ("primaryLocationLineHash", LINE_HASH), 0)]
    assert full == [producer_fingerprint_of("scan", "R1", "app/models.py", ("id/v1", "i" * 16), 0)]


def test_findings_with_one_producers_fingerprint_stay_apart():
    partial = {"primaryLocationLineHash": LINE_HASH}

    fingerprints = fingerprints_of(*[a_result(partialFingerprints=partial)] * 3)

    assert len(set(fingerprints)) == 3
