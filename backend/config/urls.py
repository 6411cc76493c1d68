"""Django's own addresses: the admin. GraphQL, health and metrics are served beside Django (schema.http.asgi)."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
