"""Settings from the environment: types, ranges, database addresses, and what production refuses."""

from pathlib import Path

import pytest

from backend.config.databases import databases, from_url
from backend.config.env import DEVELOPMENT_SECRET, BadSetting, DefaultKey, read_environment

KEYS = {"DRIFTGRAPH_SECRET_KEY": "s" * 40, "DRIFTGRAPH_CLAIM_KEY": "c" * 40}


def test_defaults_need_no_environment() -> None:
    environment = read_environment({})

    assert (environment.host, environment.port, environment.is_production) == ("127.0.0.1", 8000, False)


def test_the_data_is_in_the_checkout_wherever_a_command_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert read_environment({}).data_dir == Path(__file__).resolve().parents[2] / ".data"


def test_values_have_the_type_of_their_field() -> None:
    environment = read_environment({"DRIFTGRAPH_PORT": "9", "DRIFTGRAPH_DEADLINE_SECONDS": "2.5", "OTHER": "x"})

    assert (environment.port, environment.deadline_seconds) == (9, 2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DRIFTGRAPH_PORT", "eighty"),
        ("DRIFTGRAPH_PORT", "99999"),
        ("DRIFTGRAPH_MAX_PAGE_SIZE", "-17"),
        ("DRIFTGRAPH_ENVIRONMENT", "staging"),
    ],
)
def test_a_bad_value_is_named_but_not_repeated(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as caught:
        read_environment({name: value})

    assert name in caught.value.message
    assert value not in caught.value.message.replace(name, "")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("DRIFTGRAPH_PORT", "eighty", "it must be a whole number"),
        ("DRIFTGRAPH_SIGN_IN_FAILURES_PER_ACCOUNT", "0", "it must be greater than 0"),
        ("DRIFTGRAPH_TRUSTED_PROXIES", "10.0.0.1,*", "it must be IP addresses or networks, such as 10.0.0.0/8"),
        ("DRIFTGRAPH_PORT", "1" * 5000, "it must be a whole number"),
        ("DRIFTGRAPH_PORT", "9" * 400, "it must be at most 65535"),
        ("DRIFTGRAPH_PORT", "0", "it must be greater than 0"),
        ("DRIFTGRAPH_DEADLINE_SECONDS", "soon", "it must be a number"),
        ("DRIFTGRAPH_DEADLINE_SECONDS", "nan", "it must be a number"),
        ("DRIFTGRAPH_DEADLINE_SECONDS", "inf", "it must be a number"),
        ("DRIFTGRAPH_DEADLINE_SECONDS", "-1", "it must be greater than 0"),
        ("DRIFTGRAPH_ORGANIZATION_READ_SHARE", "1.5", "it must be at most 1"),
        ("DRIFTGRAPH_RETENTION_AUDIT_YEARS", "5", "it must be at least 6"),
        ("DRIFTGRAPH_DOCUMENT_CACHE_BYTES", "500000", "it must be at least 24000000"),
        ("DRIFTGRAPH_PREPARED_STATEMENTS", "perhaps", "it must be true or false"),
        ("DRIFTGRAPH_METRICS_TOKEN", "short", "it must have at least 32 random characters"),
        ("DRIFTGRAPH_METRICS_TOKEN", "two words" * 8, "it must be one word of ASCII characters"),
        ("DRIFTGRAPH_REPORT_TOKEN", "two words", "it must be one word of ASCII characters"),
    ],
)
def test_a_bad_value_is_told_what_it_must_be(name: str, value: str, reason: str) -> None:
    with pytest.raises(BadSetting) as caught:
        read_environment({name: value})

    assert caught.value.message == f"{name} is not valid: {reason}."


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"DRIFTGRAPH_SECRET_KEY": "s" * 40},
        {**KEYS, "DRIFTGRAPH_CLAIM_KEY": "short"},
        {**KEYS, "DRIFTGRAPH_CLAIM_KEYS": f"2={DEVELOPMENT_SECRET}"},
    ],
    ids=["both", "claim-key", "short", "further"],
)
def test_production_refuses_default_keys(source: dict[str, str]) -> None:
    with pytest.raises(DefaultKey):
        read_environment({"DRIFTGRAPH_ENVIRONMENT": "production", **source})


def test_production_starts_with_keys_of_its_own() -> None:
    assert read_environment({"DRIFTGRAPH_ENVIRONMENT": "production", **KEYS}).is_production


def test_secrets_can_lie_in_files(tmp_path: Path) -> None:
    source = {"DRIFTGRAPH_ENVIRONMENT": "production"}
    for name, value in KEYS.items():
        (tmp_path / name).write_text(f"{value}\n")
        source[f"{name}_FILE"] = str(tmp_path / name)

    environment = read_environment(source)

    assert [environment.secret_key, environment.claim_key] == list(KEYS.values())


def test_a_default_or_short_key_is_refused_from_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short\n")
    source = {"DRIFTGRAPH_ENVIRONMENT": "production", "DRIFTGRAPH_SECRET_KEY": "s" * 40}

    with pytest.raises(DefaultKey, match="DRIFTGRAPH_CLAIM_KEY"):
        read_environment({**source, "DRIFTGRAPH_CLAIM_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize("also", [{}, {"DRIFTGRAPH_CLAIM_KEY": "c" * 40}], ids=["missing", "both"])
def test_a_file_that_cannot_count_is_named_by_its_setting_alone(tmp_path: Path, also: dict[str, str]) -> None:
    with pytest.raises(BadSetting, match="DRIFTGRAPH_CLAIM_KEY_FILE") as caught:
        read_environment({"DRIFTGRAPH_CLAIM_KEY_FILE": str(tmp_path / "none"), **also})

    assert str(tmp_path) not in caught.value.message


def test_only_secrets_are_read_from_files(tmp_path: Path) -> None:
    assert read_environment({"DRIFTGRAPH_HOST_FILE": str(tmp_path / "none")}).host == "127.0.0.1"


def test_further_claim_keys_have_ids_and_an_order() -> None:
    pairs = f"b={'b' * 40}\n a-2={'a' * 40}"

    environment = read_environment({**KEYS, "DRIFTGRAPH_CLAIM_KEYS": pairs})

    assert list(environment.claim_keyring.items()) == [("1", "c" * 40), ("b", "b" * 40), ("a-2", "a" * 40)]


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        (f"{'b' * 40}", "it must be ID=KEY"),
        (f"Ä={'b' * 40}", "it must be ID=KEY"),
        (f"1={'b' * 40}", "every key needs an id of its own"),
        (f"b={'b' * 40} b={'d' * 40}", "every key needs an id of its own"),
        (f"b={'b' * 40} d={'b' * 40}", "two keys are equal"),
        (f"b={'c' * 40}", "two keys are equal"),
        ("b=tooshort", "every key must have at least 32"),
    ],
)
def test_further_claim_keys_that_are_not_good_are_refused_and_not_repeated(pairs: str, reason: str) -> None:
    with pytest.raises(BadSetting, match=reason) as caught:
        read_environment({**KEYS, "DRIFTGRAPH_CLAIM_KEYS": pairs})

    assert "DRIFTGRAPH_CLAIM_KEYS" in caught.value.message
    assert not any(pair.partition("=")[2] in caught.value.message for pair in pairs.split() if "=" in pair)


@pytest.mark.parametrize("origins", ["*", "app.example.org", "https://app.example.org/", "https://a.org,https://b.org"])
def test_origins_that_no_browser_sends_are_refused(origins: str) -> None:
    with pytest.raises(BadSetting, match="DRIFTGRAPH_CORS_ORIGINS"):
        read_environment({**KEYS, "DRIFTGRAPH_CORS_ORIGINS": origins})


def test_former_secret_keys_are_taken_and_default_ones_refused_in_production(tmp_path: Path) -> None:
    (tmp_path / "former").write_text(f"{'x' * 40}\n{'y' * 40}\n")
    source = {"DRIFTGRAPH_ENVIRONMENT": "production", **KEYS}

    environment = read_environment({**source, "DRIFTGRAPH_SECRET_KEY_FALLBACKS_FILE": str(tmp_path / "former")})

    assert environment.secret_key_fallbacks.split() == ["x" * 40, "y" * 40]
    with pytest.raises(DefaultKey, match="DRIFTGRAPH_SECRET_KEY_FALLBACKS"):
        read_environment({**source, "DRIFTGRAPH_SECRET_KEY_FALLBACKS": f"{'x' * 40} short"})


def test_an_address_becomes_a_database() -> None:
    found = from_url("X", "postgresql://app:p%40ss@db.example:6432/drift?sslmode=require")

    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("app", "p@ss", "db.example", "6432")
    assert (found["NAME"], found["OPTIONS"]) == ("drift", {"sslmode": "require"})


@pytest.mark.parametrize("url", ["mysql://app@host/db", "postgresql://app@host/", "postgresql://app@host:99999/db"])
def test_another_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadSetting) as caught:
        from_url("DRIFTGRAPH_DATABASE_URL", url)

    assert url not in caught.value.message


@pytest.mark.parametrize("url", ["mysql://app:s3cret@host/db", "postgresql://app:s3cret@host/", "postgresql://h:no/db"])
def test_a_replica_needs_an_address_of_postgresql(url: str) -> None:
    good = "postgresql://app@replica.example:6432/drift"

    assert read_environment({}).read_database_url == ""
    assert read_environment({"DRIFTGRAPH_READ_DATABASE_URL": good}).read_database_url == good
    with pytest.raises(BadSetting, match="DRIFTGRAPH_READ_DATABASE_URL") as caught:
        read_environment({"DRIFTGRAPH_READ_DATABASE_URL": url})
    assert url not in caught.value.message


def test_the_owner_is_known_only_where_its_address_is_set() -> None:
    app = {"DRIFTGRAPH_DATABASE_URL": "postgresql://app@h/d"}
    owner = {"DRIFTGRAPH_OWNER_DATABASE_URL": "postgresql://owner@h/d"}

    assert set(databases(read_environment(app))) == {"default"}
    assert set(databases(read_environment({**app, **owner}))) == {"default", "owner"}


OIDC = {
    "DRIFTGRAPH_OIDC_ISSUER": "https://id.example.org",
    "DRIFTGRAPH_OIDC_CLIENT_ID": "driftgraph",
    "DRIFTGRAPH_OIDC_CLIENT_SECRET": "a secret",
}


def test_a_provider_is_named_in_full_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret\n")
    by_file = {
        **OIDC,
        "DRIFTGRAPH_OIDC_CLIENT_SECRET": "",
        "DRIFTGRAPH_OIDC_CLIENT_SECRET_FILE": str(tmp_path / "secret"),
    }

    assert not read_environment({}).has_oidc
    assert read_environment(OIDC).has_oidc
    assert read_environment(by_file).oidc_client_secret == "a secret"
    for missing in OIDC:
        with pytest.raises(BadSetting) as caught:
            read_environment({**OIDC, missing: ""})
        others = " and ".join(name for name in OIDC if name != missing)
        assert caught.value.message == f"{missing} is not valid: it is set together with {others}, or none of them."


@pytest.mark.parametrize(
    ("issuer", "in_development", "in_production"),
    [
        ("https://id.example.org", True, True),
        ("https://id.example.org:8443/realms/clinic", True, True),
        ("https://[2001:db8::1]/", True, True),
        ("http://localhost:9400", True, False),
        ("http://127.0.0.1:9400/", True, False),
        ("http://[::1]:9400", True, False),
        ("http://id.example.org", False, False),
        ("http://127.0.0.1.example.org", False, False),
        ("https://", False, False),
        ("https://id.example.org/?tenant=a", False, False),
        ("https://id.example.org/#a", False, False),
        ("https://user:word@id.example.org", False, False),
        ("https://id.example.org:none", False, False),
        ("https://ïd.example.org", False, False),
        ("id.example.org", False, False),
        ("file:///etc/passwd", False, False),
    ],
)
def test_what_a_provider_says_is_said_by_tls(issuer: str, in_development: bool, in_production: bool) -> None:
    for source, is_good in (({}, in_development), ({"DRIFTGRAPH_ENVIRONMENT": "production", **KEYS}, in_production)):
        named = {**OIDC, "DRIFTGRAPH_OIDC_ISSUER": issuer, **source}
        if is_good:
            assert read_environment(named).oidc_issuer == issuer
        else:
            with pytest.raises(BadSetting, match="DRIFTGRAPH_OIDC_ISSUER") as caught:
                read_environment(named)
            assert issuer not in caught.value.message or issuer == "https://"
