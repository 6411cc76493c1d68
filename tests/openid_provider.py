"""A small OpenID provider on this machine: Authlib's, which demands PKCE, a nonce, the client's secret and its address.

Whoever is signed in at it is let through at once, as by a provider that has asked for consent before. What a broken or
hostile one would say is planted.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import flask
from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import AuthorizationCodeMixin, OpenIDCode
from joserfc.jwk import KeySet, OctKey, RSAKey
from werkzeug.serving import make_server

from benchmarks.serving import served
from tests import server as database_server

CLIENT_ID, CLIENT_SECRET = "driftgraph", "a secret of the client"
_METHODS = ("client_secret_basic", "client_secret_post")


class Client(ClientMixin):
    """The one client: our server."""

    def __init__(self, provider: "Provider") -> None:
        self.provider = provider

    @property
    def id_token_signed_response_alg(self) -> str:
        return self.provider.algorithm

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.provider.callback

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self.provider.client_secret

    def check_endpoint_auth_method(self, method: str, _endpoint: str) -> bool:
        return method in self.provider.methods

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):
    """A code that was given out, and for what."""

    redirect_uri: str
    scope: str
    person: str
    nonce: str
    code_challenge: str
    code_challenge_method: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> None:
        return None


def new_key(key_id: str = "1") -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": key_id, "use": "sig"})


@cache
def first_key() -> RSAKey:
    """The key that a provider begins with: a new one takes a second."""
    return new_key()


@dataclass
class Provider:
    """What it knows, and what is wrong with it."""

    issuer: str = ""
    callback: str = ""  # where people may be sent back to
    client_secret: str = CLIENT_SECRET
    methods: tuple[str, ...] = _METHODS  # by which the client says its secret
    people: dict[str, dict[str, Any]] = field(default_factory=dict)  # their claims by subject
    person: str | None = None  # who is signed in at it; None: nobody, who is let through to nowhere
    algorithm: str = "RS256"  # of signatures; HS256 is made with the client's secret
    is_unsigned: bool = False  # tokens say that they have no signature, and have none
    key: RSAKey = field(default_factory=first_key)  # that signs
    published: RSAKey | None = None  # instead of it
    planted: dict[str, Any] = field(default_factory=dict)  # claims of its tokens, whatever is true
    says: dict[str, Any] = field(default_factory=dict)  # of itself, whatever is true
    elsewhere: dict[str, Any] | None = None  # what is known of people is told elsewhere than in tokens, with this
    is_broken: bool = False  # answers nothing else than 503
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)  # subjects

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
            "token_endpoint_auth_methods_supported": list(self.methods),
            **self.says,
        }

    def keys(self) -> dict[str, Any]:
        return {"keys": [(self.published or self.key).as_dict(private=False)]}


def _grant(provider: Provider) -> type[AuthorizationCodeGrant]:
    class Grant(AuthorizationCodeGrant):
        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            provider.codes[code] = Code(
                redirect_uri=request.payload.redirect_uri,
                scope=request.scope,
                person=request.user,
                nonce=data["nonce"],
                code_challenge=data["code_challenge"],
                code_challenge_method=data["code_challenge_method"],
            )

        def query_authorization_code(self, code: str, _client: Client) -> Code | None:
            return provider.codes.pop(code, None)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            """It went when it was asked for."""

        def authenticate_user(self, authorization_code: Code) -> str:
            return authorization_code.person

    return Grant


def _openid(provider: Provider) -> OpenIDCode:
    class Tokens(OpenIDCode):
        def resolve_client_private_key(self, _client: Client) -> KeySet | OctKey:
            is_shared = provider.algorithm.startswith("HS")
            return OctKey.import_key(CLIENT_SECRET) if is_shared else KeySet([provider.key])

        def get_client_claims(self, _client: Client) -> dict[str, Any]:
            return {"iss": provider.issuer}

        def encode_id_token(self, token: dict[str, Any], request: Any) -> str:
            signed: str = super().encode_id_token(token, request)
            header = urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
            return f"{header}.{signed.split('.')[1]}." if provider.is_unsigned else signed

        def exists_nonce(self, nonce: str, _request: Any) -> bool:
            return any(code.nonce == nonce for code in provider.codes.values())

        def generate_user_info(self, user: str, _scope: str) -> dict[str, Any]:
            told = {} if provider.elsewhere is not None else provider.people[user]
            return {"sub": user, **told, **provider.planted}

    return Tokens(require_nonce=True)


def application(provider: Provider) -> flask.Flask:
    """The provider as a WSGI application."""
    app = flask.Flask(__name__)

    def save(token: dict[str, Any], request: Any) -> None:
        provider.tokens[token["access_token"]] = request.user

    def client(client_id: str) -> Client | None:
        return Client(provider) if client_id == CLIENT_ID else None

    server = AuthorizationServer(app, query_client=client, save_token=save)
    server.register_grant(_grant(provider), [_openid(provider), CodeChallenge(required=True)])

    @app.before_request
    def refuse() -> Any:
        return ("", 503) if provider.is_broken else None

    @app.get("/.well-known/openid-configuration")
    def metadata() -> dict[str, Any]:
        return provider.metadata()

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return provider.keys()

    @app.get("/authorize")
    def authorize() -> Any:
        grant = server.get_consent_grant(end_user=provider.person)
        return server.create_authorization_response(grant=grant, grant_user=provider.person)

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    @app.get("/userinfo")
    def userinfo() -> Any:
        subject = provider.tokens.get(flask.request.headers.get("authorization", "").removeprefix("Bearer "))
        return {"sub": subject, **provider.people[subject], **(provider.elsewhere or {})} if subject else ("", 401)

    return app


@contextmanager
def provider_serving() -> Iterator[Provider]:
    """A provider that answers until the block ends."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # it does not leave the machine
    provider = Provider()
    server = make_server("127.0.0.1", 0, application(provider), threaded=True)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True, slots=True)
class Pair:
    """Our server, and the provider that it knows."""

    url: str
    log: Path
    provider: Provider

    def afresh(self) -> None:
        """Nothing is wrong at the provider, and nobody is signed in at it."""
        fresh = Provider(issuer=self.provider.issuer, callback=f"{self.url}/accounts/oidc/callback/")
        vars(self.provider).update(vars(fresh))


@contextmanager
def serving_with_provider(database: str, folder: Path, **variables: str) -> Iterator[Pair]:
    """Both as real servers on this machine; ours believes of everybody whence they say to come."""
    with provider_serving() as provider:
        told = {
            "DRIFTGRAPH_DATABASE_URL": database_server.url("app", database),
            "DRIFTGRAPH_DATA_DIR": str(folder),
            "DRIFTGRAPH_TRUSTED_PROXIES": "127.0.0.1",
            "DRIFTGRAPH_OIDC_ISSUER": provider.issuer,
            "DRIFTGRAPH_OIDC_CLIENT_ID": CLIENT_ID,
            "DRIFTGRAPH_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            **variables,
        }
        with served(told, log=folder / "log") as found:
            yield Pair(found.url, folder / "log", provider)
