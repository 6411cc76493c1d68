"""Typed settings from the environment: every variable of the product, with its default and its unit."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address, ip_network
from math import inf, nan
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from backend.core.errors import ConfigurationError

PREFIX = "DRIFTGRAPH_"
SECRETS = frozenset(
    {
        "secret_key",
        "secret_key_fallbacks",
        "claim_key",
        "claim_keys",
        "database_url",
        "owner_database_url",
        "metrics_token",
        "read_database_url",
        "oidc_client_secret",
    }
)
"""May be given as a file: DRIFTGRAPH_CLAIM_KEY_FILE is the path of one with the value of DRIFTGRAPH_CLAIM_KEY."""
MIN_KEY_LENGTH = 32  # characters
MAX_PORT = 65_535
LEAST_AUDIT_YEARS = 6  # 45 CFR 164.316(b)(2)(i)
LEAST_DOCUMENT_CACHE_BYTES = 24_000_000  # an eighth of it holds a form of 1,000 fields
BUDGET_SCHEMES = ("redis", "rediss", "valkey", "valkeys")  # before ://
FIRST_KEY_ID = "1"
"""The id of the key DRIFTGRAPH_CLAIM_KEY."""
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.ASCII)
_ORIGIN_HOST = re.compile(r"[a-z0-9.-]+(:\d{1,5})?|\[[0-9a-f:]+\](:\d{1,5})?")  # as browsers write it
_ISSUER = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[!\"$->@-~]*)?")  # neither credentials nor a query
_TOKEN = re.compile(r"[!-~]*")  # what a header can carry
BASE_DIR = Path(__file__).resolve().parents[2]
DEVELOPMENT_SECRET = "development-only-secret-key-never-used-in-production"  # noqa: S105 - refused outside development


class BadSetting(ConfigurationError):
    """{name} is not valid: {reason}."""


class DefaultKey(ConfigurationError):
    """{name} has its development value. Production needs one of at least 32 random characters."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings of one process; the field `max_import_bytes` is read from DRIFTGRAPH_MAX_IMPORT_BYTES, and so on."""

    environment: str = "development"  # development or production
    secret_key: str = DEVELOPMENT_SECRET  # sessions and CSRF
    secret_key_fallbacks: str = ""  # former secret keys, which are still good; blanks or line ends between them
    claim_key: str = DEVELOPMENT_SECRET  # root of the per-organization keys that hash claim numbers; its id is 1
    claim_keys: str = ""  # further ones as ID=KEY, oldest first, blanks or line ends between them
    host: str = "127.0.0.1"
    port: int = 8000
    data_dir: Path = BASE_DIR / ".data"  # given as a relative path: from the working directory
    database_url: str = ""  # role app; empty: the embedded server
    embedded_options: str = ""  # settings of the embedded server, as name=value, comma separated
    owner_database_url: str = ""  # role owner; set only where migrations run
    read_database_url: str = ""  # role app, of a streaming replica; empty: everything is read from the primary
    replica_wait_seconds: float = 0.05  # for a connection to the replica, and for what a consistency token names
    replica_lag_seconds: float = 10.0  # a replica that is further behind is not read
    trusted_proxies: str = ""  # addresses or networks, comma separated, whose X-Forwarded-For is believed
    allowed_hosts: str = "localhost,127.0.0.1,[::1]"  # comma separated
    read_pool_size: int = 8  # connections per process to each server that it reads from
    organization_read_share: float = 0.75  # of them, that one organization has at a time; at least one connection
    prepared_statements: bool = (
        True  # false behind a pooler in transaction mode that keeps none (PgBouncer before 1.21)
    )
    execution: str = "auto"  # auto: SQL-made JSON, then compiled; compiled: without SQL; reference: graphql-core alone
    documents: str = (
        "automatic"  # any: every text; automatic: and its hash from then on; trusted: those of manifests alone
    )
    documents_manifest: str = ""  # file of documents_build, whose documents are trusted beside those of the product
    introspection: str = "auto"  # on or off: whether the schema can be asked for; auto: on in development alone
    suggestions: bool = True  # "Did you mean ..." in errors; never where introspection is off
    document_cache_bytes: int = 64_000_000  # memory, as estimated, for GraphQL documents and what is made of them
    cors_origins: str = ""  # such as https://app.example.org, by spaces: whose pages may ask, by token, from elsewhere
    write_threads: int = 8  # threads per process that run services
    write_lock_timeout_seconds: float = 5.0  # a service of the server waits no longer for a lock; retryable then
    deadline_seconds: float = 10.0  # for one GraphQL operation, down to PostgreSQL's statement_timeout
    body_seconds: float = 10.0  # for the body of a request to come; one more for each 10,000 bytes that came
    max_body_bytes: int = 1_000_000  # a GraphQL request without files
    max_import_bytes: int = 2_000_000_000  # one file of claim outcomes
    max_sarif_bytes: int = 10_000_000  # one SARIF document
    max_import_error_share: float = 0.2  # more rejected rows than this, and the batch is rejected
    max_issues_per_rule: int = 1_000  # issues kept per rule and batch; the exact count is in the quality report
    max_page_size: int = 100  # first and last
    default_page_size: int = 25  # where neither is given; a smaller max_page_size counts
    count_cap: int = 10_000  # totalCount is exact up to here
    max_query_characters: int = 50_000  # of a document
    max_query_tokens: int = 2_000
    max_query_depth: int = 12
    max_query_fields: int = 1_000  # a fragment's are counted wherever it is spread
    max_query_aliases: int = 50
    max_query_alias_characters: int = 200  # of one, which each row of an answer repeats
    max_query_repeats: int = 50  # of one field in a selection set
    max_query_directives: int = 50
    max_query_fragments: int = 50
    max_query_operations: int = 20
    max_query_variables: int = 100  # that an operation declares
    max_json_values: int = 20_000  # of a request
    max_json_depth: int = 32  # of variables
    max_variable_values: int = 2_000  # in the variables of an operation that is no mutation
    max_cost: int = 10_000  # of one operation, in the unit of docs/limits.md
    max_reference_cost: int = 1_000  # where graphql-core executes it: mutations, events of subscriptions
    cost_per_minute: int = 200_000  # of one token or session; of one address where nobody is signed in
    organization_cost_per_minute: int = 1_000_000
    budget_url: str = ""  # redis:// or valkey://, where several processes share budgets; empty: each keeps its own
    max_review_days: int = 92  # of the period of an access review
    small_cell_minimum: int = 11  # claims in a cell from which on a VIEWER sees its figures
    max_input_items: int = 100  # items of a list in a filter
    max_filter_conditions: int = 100  # of a filter, in all of its alternatives
    max_operation_ids: int = 500  # of all lists `ids` of an operation
    max_answer_bytes: int = 10_000_000  # of the data of an answer, or of one event of a subscription
    max_errors: int = 100  # that an answer tells; one more says how many there are
    agent_run_timeout_minutes: int = 60  # a run without a heartbeat for so long is TIMED_OUT
    agent_progress_hours: int = 24  # how long subscribers can resume where a run's progress left them
    max_streams_per_principal: int = 20  # WebSockets and event streams of one token or session, per process
    max_socket_operations: int = 50  # of one WebSocket at a time
    max_socket_answers: int = 8  # that are made for one WebSocket, or wait to be taken, at a time
    socket_init_seconds: float = 10.0  # a WebSocket without connection_init is closed then
    stream_check_seconds: float = 3.0  # how often credentials and rights of a live stream are looked at anew
    stream_send_seconds: float = 20.0  # who does not take a message for so long is cut off
    send_seconds: float = 20.0  # for an answer to be taken; one more for each 10,000 bytes that were taken
    stream_comment_seconds: float = 12.0  # between comments of an event stream that has nothing to say
    idempotency_key_hours: int = 24  # a retry with the same key that comes later is a new request
    session_hours: int = 12
    oidc_issuer: str = ""  # of OpenID Connect, as its provider writes it; empty: people have passwords alone
    oidc_client_id: str = ""  # what the provider calls this server
    oidc_client_secret: str = ""
    oidc_name: str = "single sign-on"  # of the provider, on the button of the page of signing in
    oidc_timeout_seconds: float = (
        5.0  # the provider takes no longer to be connected with, or between parts of an answer
    )
    usage_flush_seconds: float = 60.0  # which client used what of the schema is counted in memory, and written then
    usage_days: int = 400  # such counts are kept
    break_glass_hours: int = 24  # emergency access lasts no longer
    sign_in_failures_per_account: int = 10  # log-ins that fail, until its next window
    sign_in_failures_per_address: int = 50  # an IPv4 address, or 64 bits of an IPv6 one
    sign_in_window_minutes: int = 15  # from the first failure on
    bad_tokens_per_address: int = 60  # API tokens that are malformed, unknown, revoked or expired
    bad_token_window_minutes: int = 1  # from the first of them on
    retention_drift_test_days: int = 90
    retention_agent_run_days: int = 400  # also of their findings and metrics, and of states that are FIXED
    retention_drift_days: int = 2_190  # ended events, their observations and alerts; runs; outcome counts by period
    metrics_token: str = ""  # /metrics is shown to who sends it as a bearer token; empty: to this machine alone
    retention_audit_years: int = 6  # audit entries, by whole months; no less
    report_url: str = ""  # GraphQL endpoint to which commands with --report send what they found
    report_token: str = ""  # API token for it, with the scope agents:write

    @property
    def is_production(self) -> bool:
        """Whether default keys are refused and cookies demand TLS."""
        return self.environment == "production"

    @property
    def has_oidc(self) -> bool:
        """Whether people can sign in by OpenID Connect."""
        return bool(self.oidc_issuer)

    @property
    def shows_schema(self) -> bool:
        """Whether introspection is answered."""
        return self.introspection == "on" or (self.introspection == "auto" and not self.is_production)

    @property
    def usual_page_size(self) -> int:
        """Rows of a page that says nothing of its size: as many as a page may have at most."""
        return min(self.default_page_size, self.max_page_size)

    @property
    def claim_keyring(self) -> dict[str, str]:
        """The roots of claim keys by id, oldest first."""
        further = (pair.partition("=") for pair in self.claim_keys.split())
        return {FIRST_KEY_ID: self.claim_key} | {key_id: secret for key_id, _, secret in further}

    @property
    def shows_suggestions(self) -> bool:
        """Whether errors suggest names of the schema."""
        return self.suggestions and self.shows_schema


_CHOICES = {
    "environment": ("development", "production"),
    "execution": ("auto", "compiled", "reference"),
    "documents": ("any", "automatic", "trusted"),
    "introspection": ("auto", "on", "off"),
}
_NUMBERS = {int: "a whole number", float: "a number"}


def _cast(name: str, kind: type[Any], text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise BadSetting(name=name, reason="it must be true or false")
        return text.lower() == "true"
    convert: Callable[[str], Any] = kind
    if kind not in _NUMBERS:
        return convert(text)
    try:
        value = convert(text)
    except ValueError:
        value = nan
    if not -inf < value < inf:
        raise BadSetting(name=name, reason=f"it must be {_NUMBERS[kind]}")
    if value <= 0:
        raise BadSetting(name=name, reason="it must be greater than 0")
    return value


def check_database_address(name: str, url: str) -> None:
    """Nothing.

    Raises:
        BadSetting: another scheme than PostgreSQL's, no database name, or a port that is none.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise BadSetting(name=name, reason="its host or port is none") from None
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.lstrip("/"):
        raise BadSetting(name=name, reason="it must be postgresql://role:password@host:port/database")


def _check_web_address(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isascii()
    except ValueError:
        is_good = False
    if not is_good:
        raise BadSetting(name=name, reason="it must be http://host:port/graphql or https://host/graphql")


def _check_origins(name: str, text: str) -> None:
    for origin in text.split():
        scheme, _, host = origin.partition("://")
        if scheme not in ("http", "https") or not _ORIGIN_HOST.fullmatch(host):
            raise BadSetting(name=name, reason="it must be origins such as https://app.example.org, between spaces")


def _check_ranges(settings: Environment) -> None:
    leasts = {"retention_audit_years": LEAST_AUDIT_YEARS, "document_cache_bytes": LEAST_DOCUMENT_CACHE_BYTES}
    for name, least in leasts.items():
        if getattr(settings, name) < least:
            raise BadSetting(name=PREFIX + name.upper(), reason=f"it must be at least {least}")
    if settings.port > MAX_PORT:
        raise BadSetting(name="DRIFTGRAPH_PORT", reason=f"it must be at most {MAX_PORT}")
    if settings.organization_read_share > 1:
        raise BadSetting(name="DRIFTGRAPH_ORGANIZATION_READ_SHARE", reason="it must be at most 1")


def _check_proxies(name: str, text: str) -> None:
    try:
        for one in text.split(",") if text else ():
            ip_network(one.strip())
    except ValueError:
        raise BadSetting(name=name, reason="it must be IP addresses or networks, such as 10.0.0.0/8") from None


def _check_tokens(settings: Environment) -> None:
    for name in ("report_token", "metrics_token"):
        if not _TOKEN.fullmatch(getattr(settings, name)):
            raise BadSetting(name=PREFIX + name.upper(), reason="it must be one word of ASCII characters")
    if 0 < len(settings.metrics_token) < MIN_KEY_LENGTH:
        reason = f"it must have at least {MIN_KEY_LENGTH} random characters"
        raise BadSetting(name="DRIFTGRAPH_METRICS_TOKEN", reason=reason)


def _check_claim_keys(settings: Environment) -> None:
    pairs = [pair.partition("=") for pair in settings.claim_keys.split()]
    ids = [FIRST_KEY_ID, *(key_id for key_id, _, _ in pairs)]
    secrets = [settings.claim_key, *(secret for _, _, secret in pairs)]
    reason = ""
    if not all(equals and _KEY_ID.fullmatch(key_id) for key_id, equals, _ in pairs):
        reason = "it must be ID=KEY, the ids of small letters, digits, dots, hyphens and underscores"
    elif len(set(ids)) < len(ids):
        reason = f"every key needs an id of its own, and {FIRST_KEY_ID} is that of {PREFIX}CLAIM_KEY"
    elif len(set(secrets)) < len(secrets):
        reason = "two keys are equal"
    elif any(len(secret) < MIN_KEY_LENGTH for secret in secrets[1:]):
        reason = f"every key must have at least {MIN_KEY_LENGTH} random characters"
    if reason:
        raise BadSetting(name=f"{PREFIX}CLAIM_KEYS", reason=reason)


def _check_oidc(settings: Environment) -> None:
    """All of it or nothing; what is said over the network is said by TLS, unless it does not leave the machine."""
    given = {name: getattr(settings, f"oidc_{name}") for name in ("issuer", "client_id", "client_secret")}
    for name, value in given.items():
        if not value and any(given.values()):
            others = [f"{PREFIX}OIDC_{other.upper()}" for other in given if other != name]
            reason = f"it is set together with {' and '.join(others)}, or none of them"
            raise BadSetting(name=f"{PREFIX}OIDC_{name.upper()}", reason=reason)
    if settings.has_oidc and not _is_issuer(settings.oidc_issuer, may_be_local=not settings.is_production):
        local = "" if settings.is_production else ", or http:// on this machine"
        raise BadSetting(name=f"{PREFIX}OIDC_ISSUER", reason=f"it must be https://host or https://host/path{local}")


def _is_issuer(url: str, *, may_be_local: bool) -> bool:
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (may_be_local and parts.scheme == "http" and _is_loopback(parts.hostname))
        return is_safe and bool(parts.hostname) and parts.port != 0 and bool(_ISSUER.fullmatch(url))
    except ValueError:
        return False


def _is_loopback(host: str | None) -> bool:
    """Whether the host of an address is this machine."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _check_default_keys(settings: Environment) -> None:
    keys = {"secret_key": [settings.secret_key], "claim_key": [settings.claim_key]}
    keys |= {"secret_key_fallbacks": settings.secret_key_fallbacks.split()}
    keys |= {"claim_keys": [key for key_id, key in settings.claim_keyring.items() if key_id != FIRST_KEY_ID]}
    for name, values in keys.items():
        if any(value == DEVELOPMENT_SECRET or len(value) < MIN_KEY_LENGTH for value in values):
            raise DefaultKey(name=PREFIX + name.upper())


def _text(name: str, source: Mapping[str, str]) -> str:
    """The text of a setting; that of a secret may lie in the file that NAME_FILE names, without its last line end."""
    text, path = source.get(name, ""), source.get(f"{name}_FILE", "")
    if not path or name.removeprefix(PREFIX).lower() not in SECRETS:
        return text
    if text:
        raise BadSetting(name=f"{name}_FILE", reason=f"{name} is set as well")
    try:
        return Path(path).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        raise BadSetting(name=f"{name}_FILE", reason="the file cannot be read as text") from None


def read_environment(source: Mapping[str, str] = os.environ) -> Environment:
    """The settings in force.

    Raises:
        BadSetting: a value has the wrong type or range, or the file of a secret cannot be read; neither is repeated.
        DefaultKey: production with a key that everybody knows.
    """
    values: dict[str, Any] = {}
    for field in fields(Environment):
        name = PREFIX + field.name.upper()
        if (text := _text(name, source)) != "":
            values[field.name] = _cast(name, cast("type[Any]", field.type), text)
    if "report_token" in values:
        values["report_token"] = values["report_token"].strip()
    settings = Environment(**values)
    for name, words in _CHOICES.items():
        if getattr(settings, name) not in words:
            reason = f"it must be {', '.join(words[:-1])} or {words[-1]}"
            raise BadSetting(name=PREFIX + name.upper(), reason=reason)
    if settings.read_database_url:
        check_database_address("DRIFTGRAPH_READ_DATABASE_URL", settings.read_database_url)
    _check_ranges(settings)
    _check_proxies("DRIFTGRAPH_TRUSTED_PROXIES", settings.trusted_proxies)
    _check_origins("DRIFTGRAPH_CORS_ORIGINS", settings.cors_origins)
    if settings.report_url:
        _check_web_address("DRIFTGRAPH_REPORT_URL", settings.report_url)
    _check_tokens(settings)
    if settings.budget_url and settings.budget_url.partition("://")[0] not in BUDGET_SCHEMES:
        raise BadSetting(name="DRIFTGRAPH_BUDGET_URL", reason=f"it must begin with one of {', '.join(BUDGET_SCHEMES)}")
    _check_claim_keys(settings)
    _check_oidc(settings)
    if settings.is_production:
        _check_default_keys(settings)
    return settings
