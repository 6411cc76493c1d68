"""Keyed hashes: stable, separate by key and kind, blind to spelling."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.errors import ConfigurationError
from backend.ingestion.keys import ClaimHasher, KeyOver, References

KEY = bytes(range(32))


def test_a_reference_is_hmac_sha256_under_the_key_of_its_kind():
    subkey = hmac.new(KEY, b"claim", hashlib.sha256).digest()

    expected = hmac.new(subkey, b"AB-1", hashlib.sha256).digest()[:16]

    assert ClaimHasher(KEY).claim_key(" ab-1 ") == expected


@given(value=st.text(min_size=1, max_size=40))
def test_kinds_and_organizations_cannot_be_linked(value):
    ours, theirs = ClaimHasher(KEY), ClaimHasher(b"x" * 32)

    references = {ours.claim_key(value), ours.patient_ref(value), ours.provider_ref(value), theirs.claim_key(value)}

    assert len(references) == 4
    assert {len(reference) for reference in references} == {16}
    assert ours.claim_key(value) == ClaimHasher(KEY).claim_key(value)


def test_spelling_does_not_matter_and_leading_zeros_do():
    hasher = ClaimHasher(KEY)

    assert hasher.claim_key("\uff21\uff22\uff11") == hasher.claim_key("ab1\u00a0")
    assert hasher.claim_key("007") != hasher.claim_key("7")


@pytest.mark.parametrize("kind", [ClaimHasher, KeyOver])
def test_a_short_key_is_refused(kind):
    with pytest.raises(ConfigurationError, match="32 bytes"):
        kind(b"short")


def test_a_later_key_hashes_what_the_former_made_and_leaves_the_unknown_unknown():
    later = KeyOver(b"y" * 32)
    subkey = hmac.new(b"y" * 32, b"claim", hashlib.sha256).digest()
    former = ClaimHasher(KEY).claim_key("AB-1")

    made = later.laid_over(References(former, None, former, former))

    assert made.claim_key == hmac.new(subkey, former, hashlib.sha256).digest()[:16]
    assert made.patient_ref is None
    assert len({made.claim_key, made.provider_ref, made.row_sha256[:16], former}) == 4
    assert made == later.laid_over(References(former, None, former, former))
