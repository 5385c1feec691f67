"""An operation in words, for the console and for commands."""

from syncsvc.models import Operation
from syncsvc.models.operation import OUTCOMES, UNSETTLED, Outcome
from syncsvc.operations.document import OperationDocument
from syncsvc.operations.progress import Progress
from syncsvc.words import listed

ALWAYS_TOLD = ("succeeded", "failed")

type Shown = Progress | OperationDocument


def verb(kind: str) -> str:
    """`retry`, `re-sync`."""
    return str(Operation.Kind(kind).label).lower()


def bulk_name(kind: str) -> str:
    """`Bulk retry`, `Bulk re-sync`."""
    return f"Bulk {verb(kind)}"


def has_ended(shown: Shown) -> bool:
    return shown["status"] in Operation.ENDED


def outcomes(shown: Shown) -> list[tuple[int, Outcome]]:
    """The outcomes that there are, each with the number of its items."""
    return [(shown[outcome], outcome) for outcome in OUTCOMES if shown[outcome]]


def completed_text(shown: Shown) -> str:
    """`15/23 completed`."""
    return f"{shown['completed']:,}/{shown['total']:,} completed"


def counts_text(shown: Shown) -> str:
    """`15/23 completed, 12 succeeded, 3 failed, 2 running, 6 waiting`."""
    open_items = [(shown[status], status) for status in reversed(UNSETTLED)]
    told = listed([*outcomes(shown), *open_items])
    return f"{completed_text(shown)}, {told}" if told else completed_text(shown)


def summary(shown: Shown) -> str:
    """`Bulk retry complete: 20 succeeded, 3 failed`."""
    told = [f"{shown[outcome]:,} {outcome}" for outcome in OUTCOMES if shown[outcome] or outcome in ALWAYS_TOLD]
    name = bulk_name(shown["kind"])
    if not has_ended(shown):
        return f"{name} {shown['status']}: {', '.join([completed_text(shown), *told])}"
    how = "cancelled" if shown["status"] == Operation.Status.CANCELLED else "complete"
    return f"{name} {how}: {', '.join(told)}"
