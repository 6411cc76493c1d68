"""Addresses of signing in at an OpenID provider, where the settings name one."""

from django.urls import path

from backend.accounts.oidc_views import Begin, Return
from backend.accounts.views import guarded

urlpatterns = [
    path("", guarded(Begin.as_view()), name="oidc"),
    path("callback/", guarded(Return.as_view()), name="oidc_callback"),
]
