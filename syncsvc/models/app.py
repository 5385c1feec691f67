"""Client applications, and the circuit that protects each endpoint."""

import re
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import connection, models
from django.db.models import F, Q
from django.db.models.functions import Now

from syncsvc.delivery.addresses import check_webhook_url
from syncsvc.delivery.signing import check_secret, new_secret
from syncsvc.exceptions import InvalidUrlError
from syncsvc.models.fields import CheckedCharField, Sealed, SealedField

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"


def validate_app_name(name: str) -> None:
    if not re.match(NAME_PATTERN, name):
        raise ValidationError(
            "An app's name is made of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit."
        )
    if _is_uuid(name):
        raise ValidationError("An app's name must not look like a UUID; commands take either.")


def validate_webhook_url(url: str) -> None:
    try:
        check_webhook_url(url)
    except InvalidUrlError as error:
        raise ValidationError(str(error)) from error


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


class AppQuerySet(models.QuerySet["App"]):
    def named(self, name_or_id: str) -> "App":
        """The app of that name or id; App.DoesNotExist where there is none."""
        return self.get(id=name_or_id) if _is_uuid(name_or_id) else self.get(name=name_or_id)

    def pause(self, reason: str) -> int:
        return self.update(is_active=False, pause_reason=reason)

    # The circuit. Each verb is one statement, so that any number of workers may call it.

    def count_failures(self, app_id: uuid.UUID, failures: int, *, threshold: int, cooldown: float) -> bool:
        """Adds failures in a row, opens the circuit where they reach the threshold, and says whether it is open.

        `cooldown` is in seconds. An open circuit stays as it is: only its probe lengthens it.
        """
        opened = circuit_sql(
            """UPDATE syncsvc_app SET failure_streak = failure_streak + %(failures)s,
                 circuit_openings = CASE WHEN opens THEN 1 ELSE circuit_openings END,
                 circuit_opened_at = CASE WHEN opens THEN now() ELSE circuit_opened_at END,
                 circuit_until = CASE WHEN opens THEN now() + make_interval(secs => %(cooldown)s) ELSE circuit_until END
               FROM (SELECT id AS app_id, circuit_opened_at IS NULL
                            AND failure_streak + %(failures)s >= %(threshold)s AS opens
                     FROM syncsvc_app WHERE id = %(app_id)s FOR UPDATE) before
               WHERE id = app_id RETURNING circuit_opened_at IS NOT NULL""",
            app_id=app_id,
            failures=failures,
            threshold=threshold,
            cooldown=cooldown,
        )
        return bool(opened)

    def take_probe(self, app_id: uuid.UUID, *, early: bool, seconds: float) -> bool:
        """Claims the one probe of an open circuit: when its cool-down is over, or at once where `early`."""
        free = Q(probe_until=None) | Q(probe_until__lte=Now())
        ready = Q() if early else Q(circuit_until__lte=Now())
        probe = self.filter(free, ready, id=app_id, circuit_opened_at__isnull=False)
        return probe.update(probe_until=Now() + timedelta(seconds=seconds)) == 1

    def probe_failed(self, app_id: uuid.UUID, *, cooldown: float) -> None:
        """Keeps the circuit open for another cool-down, in seconds."""
        self.filter(id=app_id, circuit_opened_at__isnull=False).update(
            circuit_openings=F("circuit_openings") + 1,
            circuit_until=Now() + timedelta(seconds=cooldown),
            probe_until=None,
        )

    def release_probe(self, app_id: uuid.UUID) -> None:
        """Gives back a probe that was never sent."""
        self.filter(id=app_id).update(probe_until=None)

    def endpoint_answered(self, app_id: uuid.UUID) -> bool:
        """Ends the streak of failures; says whether that closed an open circuit."""
        was_open = circuit_sql(
            """UPDATE syncsvc_app SET failure_streak = 0, circuit_openings = 0, circuit_opened_at = NULL,
                 circuit_until = NULL, probe_until = NULL
               FROM (SELECT id AS app_id, circuit_opened_at IS NOT NULL AS was_open FROM syncsvc_app
                     WHERE id = %(app_id)s AND (failure_streak > 0 OR circuit_opened_at IS NOT NULL) FOR UPDATE) before
               WHERE id = app_id RETURNING was_open""",
            app_id=app_id,
        )
        return bool(was_open)


def circuit_sql(sql: str, **values: Any) -> Any:
    """The first column of the one row that an UPDATE … RETURNING gives; the ORM has no RETURNING of old values."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    return row and row[0]


class App(models.Model):
    """A client application: where its webhooks go, how they are signed, and how much it takes at once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True, validators=[validate_app_name])
    url = CheckedCharField("webhook URL", max_length=2000, validators=[validate_webhook_url], check=check_webhook_url)
    secret = SealedField(editable=False)
    # While a secret is being rotated both sign, until the old one ends.
    previous_secret = SealedField(null=True, editable=False)
    previous_secret_until = models.DateTimeField(null=True, blank=True, editable=False)
    # Changes that travel in one request, at most those that are recorded together; 1 sends each file by itself.
    max_batch = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(200)])
    # Requests that each worker process keeps open to this app.
    max_in_flight = models.PositiveSmallIntegerField(
        default=16, validators=[MinValueValidator(1), MaxValueValidator(256)]
    )
    is_active = models.BooleanField("active", default=True, help_text="Off: paused. Nothing is lost, nothing is sent.")
    pause_reason = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    failure_streak = models.PositiveIntegerField(default=0, editable=False)
    # Set while the circuit is open: since when, until when nothing is tried, how often it opened in a row.
    circuit_opened_at = models.DateTimeField(null=True, editable=False)
    circuit_until = models.DateTimeField(null=True, editable=False)
    circuit_openings = models.PositiveIntegerField(default=0, editable=False)
    # The one probe of an open circuit is out until then; a probe that dies frees itself.
    probe_until = models.DateTimeField(null=True, editable=False)

    objects = AppQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(condition=Q(name__regex=NAME_PATTERN), name="app_name_form"),
            models.CheckConstraint(condition=Q(max_batch__range=(1, 200)), name="app_max_batch_range"),
            models.CheckConstraint(condition=Q(max_in_flight__range=(1, 256)), name="app_max_in_flight_range"),
            models.CheckConstraint(
                condition=Q(circuit_opened_at=None, circuit_until=None)
                | Q(circuit_opened_at__isnull=False, circuit_until__isnull=False),
                name="app_circuit_open_has_end",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.secret is None:
            self.secret = Sealed.seal(new_secret())
        super().save(*args, **kwargs)

    def set_secret(self, secret: str) -> None:
        """Takes a `whsec_` secret; ValueError says what is wrong with it."""
        self.secret = Sealed.seal(check_secret(secret))

    def signing_secrets(self, at: datetime) -> list[str]:
        """The secrets that sign, newest first: two while one is being rotated."""
        secrets = [self.secret.reveal()]
        if self.previous_secret is not None and self.previous_secret_until and self.previous_secret_until > at:
            secrets.append(self.previous_secret.reveal())
        return secrets
