"""Error kinds as pages show them."""

from syncsvc.error_kinds import POLICIES
from syncsvc.types import ErrorKind


def label(kind: str) -> str:
    return POLICIES[ErrorKind(kind)].label
