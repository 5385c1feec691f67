"""Addresses of the web process."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from config.health import healthz, readyz
from syncsvc.admin.config import load_pages

load_pages()

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/api/", include("syncsvc.api.urls")),
    path("admin/", admin.site.urls),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
]
