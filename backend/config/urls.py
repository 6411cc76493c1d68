"""Django's own addresses: the admin. GraphQL, health and metrics are served beside Django (schema.http.asgi)."""

from django.urls import path

from backend.accounts.admin_site import site

urlpatterns = [path("admin/", site.urls)]
