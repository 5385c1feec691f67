"""Nobody fills the audit without logging in."""

import pytest

from syncsvc.models import AuditEntry
from tests.logins.conftest import LogIn

pytestmark = pytest.mark.django_db


def test_guesses_from_a_network_of_addresses_are_as_many_entries_as_the_limit(operator: str, log_in: LogIn) -> None:
    for number in range(1, 12):
        log_in(operator, "guess", address=f"2001:db8::{number:x}")
        log_in(f"nobody-{number}", "guess", address=f"2001:db8:0:1::{number:x}")
    log_in(operator, "guess", address="2001:db8::1")
    entries = AuditEntry.objects.filter(action="login_failed")
    assert entries.filter(actor=operator).count() == 3
    assert entries.count() <= 30
    assert entries.get(address="2001:db8::1").times == 2
