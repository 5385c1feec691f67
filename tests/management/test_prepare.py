"""The first start makes an operator with a password nobody knows; later ones say how to reset it."""

import re
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from syncsvc.logins.one_time import must_change


def prepare() -> str:
    out = StringIO()
    call_command("prepare", stdout=out)
    return out.getvalue().strip()


@pytest.mark.django_db
def test_the_password_is_made_printed_once_and_good_for_a_login() -> None:
    first, second = prepare(), prepare()

    password = re.search(r"password (\S+)", first)
    assert password is not None
    operator = get_user_model().objects.get()
    assert operator.check_password(password[1])
    assert must_change(operator)
    operator.set_password("another, of one's own")
    assert not must_change(operator)
    assert (operator.username, operator.is_staff, operator.is_superuser) == ("operator", True, True)
    assert password[1] not in second
    assert "one_time_password operator" in second
