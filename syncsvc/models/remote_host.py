"""Hosts of remotes, and the circuit that leaves one alone that cannot be reached."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from syncsvc.error_kinds import UNREACHED_KINDS


class RemoteHost(models.Model):
    """A host, with its port, that did not answer lately: a row is made by the first failure, and kept.

    Failures to connect count, one a repository: a repository that is refused, missing or damaged says nothing against
    its host. Only what answers for several repositories at once can be down.
    """

    # As Repository.host.
    name = models.CharField(max_length=2000, primary_key=True)
    # Different repositories that could not connect since one of the host's last got an answer.
    failing_repositories = ArrayField(models.UUIDField(), default=list, db_default=[], editable=False)
    # Since then, or since when it has only asked to be left alone.
    failing_since = models.DateTimeField(null=True, editable=False)
    error_kind = models.CharField(max_length=32, blank=True, default="", db_default="", editable=False)
    last_error = models.CharField(max_length=1000, blank=True, default="", db_default="", editable=False)
    # Set while the circuit is open: until when nothing is asked of the host, and how often it opened in a row.
    circuit_until = models.DateTimeField(null=True, editable=False)
    circuit_openings = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    # The host asked to be left alone until then (429 or 503 with Retry-After).
    quiet_until = models.DateTimeField(null=True, editable=False)
    # The one probe of an open circuit is out until then; a probe that dies frees itself.
    probe_until = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("name",)
        default_permissions = ()  # no page is about hosts alone
        constraints = (
            models.CheckConstraint(condition=~Q(name=""), name="remotehost_name_not_blank"),
            models.CheckConstraint(
                condition=Q(circuit_until=None) | Q(failing_since__isnull=False), name="remotehost_open_has_start"
            ),
            models.CheckConstraint(
                condition=Q(error_kind__in=["", *(kind.value for kind in UNREACHED_KINDS)]),
                name="remotehost_error_kind",
            ),
        )

    def __str__(self) -> str:
        return self.name
