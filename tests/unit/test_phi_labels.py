"""Names of clients and operations: kept, unless they could identify a person."""

from pathlib import Path

import pytest
from graphql import OperationDefinitionNode, parse

from backend.phi.labels import label_of

OPERATIONS = Path(__file__).parents[2] / "schema" / "operations"


@pytest.mark.parametrize(
    "name",
    [
        "Patient_Jane_Quillfeather_SSN_219_09_9999",
        "claimsOfJaneSmith",
        "JANE_SMITH",
        "ssn219099999",
        "x219099999Again",
        "q_219_09_9999",
        "dob_1980_01_02",
        "Get_MRN_77120094",
        "member12345678",
        "tel_212_555_0143",
        "x_1EG4TE5MK73",
    ],
)
def test_a_name_that_could_identify_a_person_is_not_kept(name: str) -> None:
    assert label_of(name, 200) == "other"


@pytest.mark.parametrize("name", ["", "a b", "web\n", "caf\xe9", "x" * 201])
def test_what_is_no_name_is_not_kept(name: str) -> None:
    assert label_of(name, 200) == "other"


def test_other_names_are_kept() -> None:
    found = [node for path in OPERATIONS.glob("*.graphql") for node in parse(path.read_text()).definitions]
    own = [node.name.value for node in found if isinstance(node, OperationDefinitionNode) and node.name]
    usual = ["GetPatient", "ClaimsByPatient_Page2", "MemberAdd", "ReportOf2026Q1", "PayerDriftPaginationQuery", "Look"]

    assert len(own) > 10
    assert [name for name in (*own, *usual) if label_of(name, 200) != name] == []
