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

handler400 = "syncsvc.admin.error_pages.bad_request"
handler403 = "syncsvc.admin.error_pages.permission_denied"
handler404 = "syncsvc.admin.error_pages.page_not_found"
handler500 = "syncsvc.admin.error_pages.server_error"
