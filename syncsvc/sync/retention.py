"""What is deleted after its time, in batches that hold no lock for long."""

from datetime import timedelta

import structlog
from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from syncsvc.models import AuditEntry, DeliveryAttempt, Operation, OperationItem, RemoteHost, Repository, SyncRun

logger = structlog.get_logger(__name__)

BATCH = 5_000


def delete_expired() -> dict[str, int]:
    """Deletes attempts, ended runs, operations and audit entries that are past their retention; how many of each.

    No attempt outlives its run. Hosts go that no repository is on any more.
    """
    attempts = DeliveryAttempt.objects.filter(at__lt=_days_ago(settings.ATTEMPT_RETENTION_DAYS))
    runs = SyncRun.objects.filter(
        ~Exists(DeliveryAttempt.objects.filter(run=OuterRef("pk"))),
        started_at__lt=_days_ago(settings.RUN_RETENTION_DAYS),
    ).exclude(outcome="")
    operations = Operation.objects.filter(finished_at__lt=_days_ago(settings.OPERATION_RETENTION_DAYS))
    hosts = RemoteHost.objects.exclude(Exists(Repository.objects.filter(host=OuterRef("name"))))
    audit = AuditEntry.objects.filter(last_at__lt=_days_ago(settings.AUDIT_RETENTION_DAYS))
    items = OperationItem.objects.filter(operation__in=operations)
    deleted = {
        "attempts": _in_batches(attempts.order_by()),
        "runs": _in_batches(runs.order_by()),
        "items": _in_batches(items.order_by()),
        "operations": _in_batches(operations.order_by()),
        "hosts": _in_batches(hosts.order_by()),
        "audit": _in_batches(audit.order_by()),
    }
    logger.info("retention.ended", **deleted)
    return deleted


def _days_ago(days: int) -> models.expressions.CombinedExpression:
    return Now() - timedelta(days=days)


def _in_batches[M: models.Model](rows: "models.QuerySet[M]") -> int:
    total = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH]):
        total += rows.model._default_manager.filter(pk__in=batch).delete()[0]
    return total
