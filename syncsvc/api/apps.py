"""An app, as people may see it."""

import uuid
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from ninja import Router

from syncsvc.api.callers import needs
from syncsvc.api.schemas import AppShown, Data, wrapped
from syncsvc.exceptions import Refused
from syncsvc.models import App
from syncsvc.models.token import TokenScope
from syncsvc.operations.app_document import app_document
from syncsvc.operations.apps import no_app
from syncsvc.store.clock import database_time

router = Router(tags=["apps"])


@router.get("apps/{app_id}", response=Data[AppShown], auth=needs("view_app", TokenScope.READ))
def app(request: HttpRequest, app_id: uuid.UUID) -> dict[str, Any]:
    """Its URL and limits, the public keys that verify its messages, and its headers by their names."""
    found = App.objects.filter(id=app_id).first()
    if found is None:
        raise no_app(app_id)
    try:
        return wrapped(app_document(found, database_time()))
    except ImproperlyConfigured as error:  # a stored secret cannot be read
        raise Refused("unavailable", str(error)) from None
