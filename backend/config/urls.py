"""Django's own addresses: accounts and admin; GraphQL and health are served beside Django (schema.http.asgi)."""

from django.conf import settings
from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, include, path

from backend.accounts.admin_site import site
from backend.accounts.sign_in import throttled
from backend.accounts.views import OrganizationChoice, SignIn, guarded

handler500 = "backend.accounts.views.broken"
urlpatterns: list[URLPattern | URLResolver] = [
    path("accounts/login/", guarded(throttled(SignIn.as_view())), name="login"),
    path("accounts/logout/", guarded(LogoutView.as_view()), name="logout"),
    path("accounts/organization/", guarded(OrganizationChoice.as_view()), name="organization"),
    path("admin/", site.urls),
]
if settings.ENVIRONMENT.has_oidc:
    urlpatterns.append(path("accounts/oidc/", include("backend.accounts.oidc_urls")))  # imports what it needs only then
