from syncsvc.models.app import App
from syncsvc.models.attempt import DeliveryAttempt
from syncsvc.models.audit import AuditEntry
from syncsvc.models.ledger import DeliveredFile
from syncsvc.models.operation import Operation, OperationItem
from syncsvc.models.remote_host import RemoteHost
from syncsvc.models.repository import Repository
from syncsvc.models.run import SyncRun, Trigger
from syncsvc.models.snapshot import Snapshot
from syncsvc.models.status import Status
from syncsvc.models.subscription import Subscription
from syncsvc.models.token import ApiToken

__all__ = [
    "ApiToken",
    "App",
    "AuditEntry",
    "DeliveredFile",
    "DeliveryAttempt",
    "Operation",
    "OperationItem",
    "RemoteHost",
    "Repository",
    "Snapshot",
    "Status",
    "Subscription",
    "SyncRun",
    "Trigger",
]
