"""The API's addresses, its schema and its page, below /admin/api/."""

from django.urls import path

from syncsvc.api.console import api
from syncsvc.api.problems import unknown_address

urlpatterns = [
    path("", api.urls),
    path("<path:rest>", unknown_address),
]
