"""What an app's page shows of its public keys, headers and certificates: names, and until when; no secret."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from syncsvc.delivery.client_certificate import describe
from syncsvc.models import App
from syncsvc.models.app import ShownSigner


def authentication_shown(app: App) -> dict[str, Any]:
    certificate = describe(app.client_certificate)[0] if app.client_certificate else None
    return {
        "signers": _signers(app),
        "header_names": _header_names(app),
        "authorities": describe(app.ca_certificate) if app.ca_certificate else [],
        "client_certificate": certificate,
        "certificate_trouble": certificate.trouble(timezone.now()) if certificate else "",
    }


def _signers(app: App) -> list[ShownSigner]:
    """Those that have a public key; none where no key of ours reads a secret."""
    try:
        return [one for one in app.signers(timezone.now()) if one.public_key]
    except ImproperlyConfigured:
        return []


def _header_names(app: App) -> list[str]:
    try:
        return app.header_names()
    except ImproperlyConfigured:
        return ["cannot be read with ENCRYPTION_KEYS"]
