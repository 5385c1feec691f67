"""The second chance of a message that was refused: sent again later in the same run, as it is or file by file."""

from syncsvc.delivery.answers import Answer, refuses_content
from syncsvc.error_kinds import POLICIES
from syncsvc.sync.cargo import Batch, Cargo, Parts, Sent
from syncsvc.sync.outbox import Outbox
from syncsvc.types import ErrorKind

CONFLICT = 409


def has_another_chance(
    outbox: Outbox, cargo: Cargo, answer: Answer[Sent], kind: ErrorKind, *, is_alive: bool, now: float
) -> bool:
    """Puts the message back into the outbox; False where it has failed.

    `is_alive`: the endpoint has acknowledged something in this run. One that answers nothing is not asked again.
    """
    if isinstance(cargo, Parts) and answer.status == CONFLICT and cargo.has_begun and not cargo.has_restarted:
        # Out of order: it has this part already, after an answer that was lost, or has lost those before.
        cargo.restart()
        outbox.put_back(cargo)
        return True
    may_pass = POLICIES[kind].resent_in_run
    has_several = isinstance(cargo, Batch) and len(cargo.singles) > 1
    if may_pass and not (has_several and cargo.failures):
        if kind is ErrorKind.ENDPOINT_TIMEOUT and not is_alive:
            if outbox.wait_for_proof(cargo):
                return True
        elif outbox.send_again(cargo, now):
            return True
    if isinstance(cargo, Batch) and has_several and (may_pass or _is_about_content(answer)):
        outbox.put_first(cargo.split())
        return True
    return False


def _is_about_content(answer: Answer[Sent]) -> bool:
    return answer.status is not None and refuses_content(answer.status)
