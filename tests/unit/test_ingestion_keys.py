"""Keyed hashes: stable, separate by key and kind, blind to spelling."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.errors import ConfigurationError
from backend.ingestion.keys import ClaimHasher

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


def test_a_short_key_is_refused():
    with pytest.raises(ConfigurationError, match="32 bytes"):
        ClaimHasher(b"short")
