"""An app as a document, for commands and the API: limits, what signs, headers by their names; no secret."""

from datetime import datetime
from typing import Any

from syncsvc.delivery.client_certificate import Described, describe
from syncsvc.models import App
from syncsvc.operations.apps import PROFILE_NAMES


def app_document(app: App, at: datetime) -> dict[str, Any]:
    """The whole of it. `at` is the database's time."""
    row = {"id": app.id, "name": app.name, "url": app.url, "is_active": app.is_active}
    return {**row, **profile_of(app), **authentication_of(app), "signers": signers_of(app, at)}


def profile_of(app: App) -> dict[str, Any]:
    """By column; `request_timeout` is the seconds that count."""
    return {**{name: getattr(app, name) for name in PROFILE_NAMES}, "request_timeout": app.request_timeout}


def authentication_of(app: App) -> dict[str, Any]:
    """The headers' names, and certificates described."""
    certificates = describe(app.client_certificate) if app.client_certificate else []
    return {
        "headers": app.header_names(),
        "ca_certificate": [_document(one) for one in describe(app.ca_certificate)] if app.ca_certificate else [],
        "client_certificate": _document(certificates[0]) if certificates else None,
    }


def signers_of(app: App, at: datetime) -> list[dict[str, Any]]:
    """What signs then, newest first; a public key where there is one."""
    return [
        {"signing": one.signing.value, "public_key": one.public_key or None, "until": one.until}
        for one in app.signers(at)
    ]


def _document(certificate: Described) -> dict[str, Any]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "begins_at": certificate.begins_at,
        "ends_at": certificate.ends_at,
        "sha256": certificate.sha256,
    }
