"""OpenID Connect, which Authlib speaks: where a person is sent, and what the provider says of who returns.

The code flow with PKCE. State, nonce and verifier are kept in the session of the browser that was sent, and work once.
Nothing of a provider is kept between requests, so that its new keys and addresses hold at once; nor are its tokens.
"""

import time
from dataclasses import dataclass
from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.django_client import DjangoOAuth2App, OAuth
from django.conf import settings
from django.http import HttpRequest
from joserfc.errors import JoseError
from requests import RequestException

_NAME = "oidc"  # of the client, in the keys of the session
_WELL_KNOWN = "/.well-known/openid-configuration"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_ASYMMETRIC = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)]
_LONGEST_SUBJECT = 255  # characters, by OpenID Connect Core 1.0, section 2
# Codes of OAuth errors that are no person's fault.
_NOBODYS_FAULT = ("invalid_client", "unauthorized_client", "server_error", "temporarily_unavailable")
# What Authlib raises about an answer that is refused, or that is not of the form that it reads without looking.
_MALFORMED = (AuthlibBaseError, JoseError, RuntimeError, AttributeError, LookupError, TypeError, ValueError)


class ProviderFailed(Exception):
    """The provider cannot be reached, or is not what the settings say. The text names what, and no value."""


class ProviderRefused(Exception):
    """The provider let nobody in, or its answer does not prove that it did. The text names why, and no value."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Whom the provider vouches for."""

    issuer: str
    subject: str  # the provider never changes it, nor gives it to anybody else
    email: str  # as the provider writes it; empty: it says none
    email_verified: bool


def begin(request: HttpRequest, *, callback: str, target: str) -> str:
    """The address at the provider to send the person to; `target` is where they want to go in the end.

    Raises: ProviderFailed.
    """
    client = _client()
    try:
        flow = client.create_authorization_url(callback)
    except _MALFORMED as error:
        raise ProviderFailed(type(error).__name__) from error
    client.save_authorize_data(request, redirect_uri=callback, target=target, **flow)
    return str(flow["url"])


def target_of(request: HttpRequest) -> str | None:
    """Where the person wanted to go; None if this browser was not sent to the provider, or was back, or is too late."""
    # Authlib writes when a state ends, and looks at it only to tidy up.
    kept = request.session.get(f"_state_{_NAME}_{request.GET.get('state', '')}")
    return str(kept["data"]["target"]) if kept and kept["exp"] > time.time() else None


def finish(request: HttpRequest) -> Claims:
    """What the provider says of the person who returns from it.

    Raises: ProviderRefused, ProviderFailed.
    """
    client, limits = _client(), settings.ENVIRONMENT
    expected = {"iss": limits.oidc_issuer, "aud": limits.oidc_client_id}
    options = {claim: {"essential": True, "value": value} for claim, value in expected.items()}
    try:
        token = client.authorize_access_token(request, claims_options=options)
        said = _with_address(client, token)
    except RequestException as error:
        raise ProviderFailed(type(error).__name__) from error
    except _MALFORMED as error:
        if (code := getattr(error, "error", None)) in _NOBODYS_FAULT:
            raise ProviderFailed(code) from error
        raise ProviderRefused(type(error).__name__) from error
    subject, email = said.get("sub"), said.get("email")
    if not (isinstance(subject, str) and 0 < len(subject) <= _LONGEST_SUBJECT and subject.isprintable()):
        raise ProviderRefused("subject")
    if isinstance(email, str) and not email.isprintable():
        raise ProviderRefused("email")
    return Claims(
        issuer=limits.oidc_issuer,
        subject=subject,
        email=email if isinstance(email, str) else "",
        email_verified=said.get("email_verified") in (True, "true"),  # Amazon Cognito writes a text
    )


def _with_address(client: DjangoOAuth2App, token: dict[str, Any]) -> dict[str, Any]:
    """The claims of the ID token; of a provider that leaves the address to its other endpoint, with what that says."""
    said: dict[str, Any] = token["userinfo"]
    if "email" in said:
        return said
    more = client.userinfo(token=token)
    if more.get("sub") != said["sub"]:
        raise ValueError("the two are not of one person")
    return {**said, "email": more.get("email"), "email_verified": more.get("email_verified")}


def _client() -> DjangoOAuth2App:
    """A client that knows what the provider says of itself.

    Raises: ProviderFailed.
    """
    limits = settings.ENVIRONMENT
    issuer: str = limits.oidc_issuer
    client: DjangoOAuth2App = OAuth().register(
        _NAME,
        client_id=limits.oidc_client_id,
        client_secret=limits.oidc_client_secret,
        server_metadata_url=issuer.removesuffix("/") + _WELL_KNOWN,
        client_kwargs={
            "scope": "openid email",
            "code_challenge_method": "S256",
            "default_timeout": limits.oidc_timeout_seconds,
        },
    )
    try:
        metadata = client.load_server_metadata()
        if metadata["issuer"] != issuer:
            raise ProviderFailed("another issuer")
        if issuer.startswith("https:") and not all(metadata[one].startswith("https:") for one in _ENDPOINTS):
            raise ProviderFailed("an address without TLS")
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if "client_secret_basic" not in methods:
            client.client_kwargs["token_endpoint_auth_method"] = "client_secret_post"  # noqa: S105 - names a way of sending it; no secret
        # Only keys that the provider alone has: a token without a signature, or with one by a shared secret, is none.
        metadata["id_token_signing_alg_values_supported"] = _ASYMMETRIC
    except (RequestException, *_MALFORMED) as error:
        raise ProviderFailed(type(error).__name__) from error
    return client
