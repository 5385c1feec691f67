"""Client applications, and the circuit that protects each endpoint."""

import re
import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from syncsvc.delivery.client_certificate import check_client_key, end_of
from syncsvc.delivery.extra_headers import check_headers, names_of
from syncsvc.delivery.signing import Signing, check_secret, new_secret, public_key, signing_of
from syncsvc.delivery.tls_terms import TlsTerms
from syncsvc.delivery.webhook_url import check_webhook_url
from syncsvc.exceptions import InvalidUrlError
from syncsvc.git.authorities import check_certificates
from syncsvc.ids import uuid_of
from syncsvc.models.fields import (
    CheckedCharField,
    CheckedTextField,
    EndingSecret,
    EndingSecretsField,
    Sealed,
    SealedField,
)

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"  # as PostgreSQL reads it: $ is the end, and not before a line's end


def validate_app_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValidationError(
            "An app's name is made of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit."
        )
    if uuid_of(name):
        raise ValidationError("An app's name must not look like a UUID; commands take either.")


def validate_webhook_url(url: str) -> None:
    try:
        check_webhook_url(url)
    except InvalidUrlError as error:
        raise ValidationError(str(error)) from error


# Each run reads them, and each look at it, once a second.
CERTIFICATES_LETTERS = 32 * 1024


def check_pem(text: str) -> str:
    """The certificates in the form that is stored; ValueError where one is none, or where they are too many."""
    if len(text) > CERTIFICATES_LETTERS:
        raise ValueError(
            f"The certificates have {len(text)} letters together, and {CERTIFICATES_LETTERS} is the most: give those"
            " that this endpoint needs, and no whole bundle."
        )
    return check_certificates(text)


def longest_timeout() -> float:
    """Seconds that a request of any app may take at most; a longer timeout of an app counts as this."""
    return max(0.1, float(settings.LEASE_SECONDS - settings.LEASE_RENEW_SECONDS - 2))


def throttle_lasts_until(throttled_until: datetime | None, probe_until: datetime | None) -> datetime | None:
    """The end of a throttled app's wait, or of the request that goes first after it; as THROTTLE_LASTS_UNTIL_SQL."""
    return throttled_until and max(throttled_until, probe_until or throttled_until)


class ShownSigner(NamedTuple):
    """A secret that signs. `public_key` is blank where both sides have the secret; `until` is None for the present."""

    signing: Signing
    public_key: str
    until: datetime | None


class AppQuerySet(models.QuerySet["App"]):
    def named(self, name_or_id: str) -> "App":
        """The app of that name or id; App.DoesNotExist where there is none."""
        return self.get(id=app_id) if (app_id := uuid_of(name_or_id)) else self.get(name=name_or_id)


class App(models.Model):
    """A client application: where its webhooks go, how they are signed, and how much it takes at once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True, validators=[validate_app_name])
    url = CheckedCharField("webhook URL", max_length=2000, validators=[validate_webhook_url], check=check_webhook_url)
    secret = SealedField(editable=False)
    # Secrets before the present one, the newest first: each signs too until its end.
    previous_secrets = EndingSecretsField(default=list, editable=False)
    # Changes that travel in one request, at most those that are recorded together; 1 sends each file by itself.
    max_batch = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(200)])
    # Requests that each worker process keeps open to this app.
    max_in_flight = models.PositiveSmallIntegerField(
        default=16, validators=[MinValueValidator(1), MaxValueValidator(256)]
    )
    # Requests a second over all workers together; null: no limit.
    max_per_second = models.PositiveIntegerField(
        "requests a second", null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(100_000)]
    )
    # Seconds that a request may take; null: the setting WEBHOOK_TIMEOUT.
    timeout = models.FloatField(
        "timeout in seconds", null=True, blank=True, validators=[MinValueValidator(0.1), MaxValueValidator(600)]
    )
    # Headers of its own, a line each; null: none.
    headers = SealedField(null=True, editable=False, check=check_headers)
    # Authorities (PEM) that its endpoint's certificate may come from, besides the public ones.
    ca_certificate = CheckedTextField("CA certificate", blank=True, default="", db_default="", check=check_pem)
    # What syncsvc shows to its endpoint (mutual TLS): the certificate with its chain, and the key of the first one.
    client_certificate = CheckedTextField(blank=True, default="", db_default="", check=check_pem)
    client_key = SealedField(null=True, editable=False, check=check_client_key)
    # Read from the certificate when it is saved.
    client_certificate_ends_at = models.DateTimeField(null=True, editable=False)
    is_active = models.BooleanField("active", default=True, help_text="Off: paused. Nothing is lost, nothing is sent.")
    pause_reason = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    # Different messages that failed since the endpoint last answered well, and how many they are.
    failing_messages = ArrayField(models.CharField(max_length=16), default=list, db_default=[], editable=False)
    failure_streak = models.PositiveIntegerField(default=0, editable=False)
    # Set while the circuit is open: since when, until when nothing is tried, how often it opened in a row.
    circuit_opened_at = models.DateTimeField(null=True, editable=False)
    circuit_until = models.DateTimeField(null=True, editable=False)
    circuit_openings = models.PositiveIntegerField(default=0, editable=False)
    # The one probe of an open circuit is out until then; a probe that dies frees itself.
    probe_until = models.DateTimeField(null=True, editable=False)

    # The endpoint asked for fewer requests: nothing is sent until then. It only moves forward by a refusal, and is
    # cleared by the success of a request that was sent after `throttled_at`, the last refusal.
    throttled_until = models.DateTimeField(null=True, editable=False)
    throttled_at = models.DateTimeField(null=True, editable=False)
    # Since when nothing was acknowledged because of it.
    throttled_since = models.DateTimeField(null=True, editable=False)
    # Seconds of the last wait for which the endpoint gave no time; it doubles.
    throttle_step = models.FloatField(default=0, db_default=0, editable=False)

    objects = AppQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(condition=Q(name__regex=NAME_PATTERN), name="app_name_form"),
            models.CheckConstraint(condition=Q(max_batch__range=(1, 200)), name="app_max_batch_range"),
            models.CheckConstraint(condition=Q(max_in_flight__range=(1, 256)), name="app_max_in_flight_range"),
            models.CheckConstraint(
                condition=Q(max_per_second=None) | Q(max_per_second__range=(1, 100_000)), name="app_max_per_second"
            ),
            models.CheckConstraint(condition=Q(timeout=None) | Q(timeout__range=(0.1, 600)), name="app_timeout"),
            models.CheckConstraint(
                condition=Q(client_certificate="", client_key=None) | (~Q(client_certificate="") & ~Q(client_key=None)),
                name="app_client_certificate_has_key",
            ),
            models.CheckConstraint(
                condition=Q(throttled_until=None, throttled_at=None, throttled_since=None)
                | Q(throttled_until__isnull=False, throttled_at__isnull=False, throttled_since__isnull=False),
                name="app_throttled_has_times",
            ),
            models.CheckConstraint(
                condition=Q(circuit_opened_at=None, circuit_until=None)
                | Q(circuit_opened_at__isnull=False, circuit_until__isnull=False),
                name="app_circuit_open_has_end",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        if self.secret is None:
            self.secret = Sealed.seal(new_secret())
        if update_fields is None or "client_certificate" in update_fields:
            self.client_certificate_ends_at = end_of(self.client_certificate)
            update_fields = None if update_fields is None else {*update_fields, "client_certificate_ends_at"}
        super().save(*args, update_fields=update_fields, **kwargs)

    @property
    def is_throttled(self) -> bool:
        """The endpoint asked for fewer requests and has taken none since."""
        return self.throttled_until is not None

    @property
    def throttle_lasts_until(self) -> datetime | None:
        """The end of the wait, or of the request that goes first after it; None where the app is not throttled."""
        return throttle_lasts_until(self.throttled_until, self.probe_until)

    @property
    def request_timeout(self) -> float:
        """Seconds that a request may take: a request must be over before its lease can end."""
        return float(settings.WEBHOOK_TIMEOUT) if self.timeout is None else min(self.timeout, longest_timeout())

    @property
    def timeout_is_capped(self) -> bool:
        """The stored timeout is longer than a lease allows."""
        return self.timeout is not None and self.request_timeout < self.timeout

    def set_secret(self, secret: str) -> None:
        """Takes a `whsec_` secret or a `whsk_` key; ValueError says what is wrong with it."""
        self.secret = Sealed.seal(check_secret(secret))

    def sealed_secrets(self, at: datetime) -> list[Sealed]:
        """The secrets that sign, newest first: more than one while they are being rotated."""
        return [self.secret, *(secret.sealed for secret in self.still_valid_secrets(at))]

    def still_valid_secrets(self, at: datetime) -> list[EndingSecret]:
        """The secrets before the present one that sign too, newest first."""
        return [secret for secret in self.previous_secrets if secret.until > at]

    @property
    def signing(self) -> Signing:
        """How the present secret signs."""
        return signing_of(self.secret.reveal())

    def signers(self, at: datetime) -> list[ShownSigner]:
        """What people may see of the secrets that sign, newest first."""
        ends = [None, *(secret.until for secret in self.still_valid_secrets(at))]
        secrets = self.signing_secrets(at)
        return [ShownSigner(signing_of(one), public_key(one), end) for one, end in zip(secrets, ends, strict=True)]

    def signing_secrets(self, at: datetime) -> list[str]:
        """The secrets that sign, decrypted, newest first."""
        return [secret.reveal() for secret in self.sealed_secrets(at)]

    @property
    def authentication(self) -> tuple[bytes | None, str, str, bytes | None]:
        """Headers and certificates as they are stored, to be compared."""
        headers, key = self.headers, self.client_key
        return headers and headers.token, self.ca_certificate, self.client_certificate, key and key.token

    def header_lines(self) -> list[bytes]:
        """The headers of its own, decrypted, as whole lines."""
        return [] if self.headers is None else [line.encode() for line in self.headers.reveal().splitlines()]

    def header_names(self) -> list[str]:
        return [] if self.headers is None else names_of(self.headers.reveal())

    def tls_terms(self) -> TlsTerms | None:
        """The certificates of its own, the key decrypted; None where it has none."""
        if not self.ca_certificate and not self.client_certificate:
            return None
        key = "" if self.client_key is None else self.client_key.reveal()
        return TlsTerms(str(self.id), self.ca_certificate, self.client_certificate, key)
