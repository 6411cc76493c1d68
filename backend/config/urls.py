"""Django's own addresses: accounts and admin; GraphQL and health are served beside Django (schema.http.asgi)."""

from django.urls import path

from backend.accounts.admin_site import site
from backend.accounts.views import OrganizationChoice, SignIn, SignOut

urlpatterns = [
    path("accounts/login/", SignIn.as_view(), name="login"),
    path("accounts/logout/", SignOut.as_view(), name="logout"),
    path("accounts/organization/", OrganizationChoice.as_view(), name="organization"),
    path("admin/", site.urls),
]
