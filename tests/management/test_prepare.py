"""The first start makes an operator with a password nobody knows; later ones say how to reset it."""

import re
from io import StringIO

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import call_command


def prepare() -> str:
    out = StringIO()
    call_command("prepare", stdout=out)
    return out.getvalue().strip()


@pytest.mark.django_db
def test_the_password_is_made_printed_once_and_good_for_a_login() -> None:
    first, second = prepare(), prepare()

    password = re.search(r"password (\S+)", first)
    assert password is not None
    assert authenticate(username="operator", password=password[1]) is not None
    assert get_user_model().objects.get().is_superuser
    assert password[1] not in second
    assert "changepassword operator" in second
