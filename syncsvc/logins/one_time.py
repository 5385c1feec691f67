"""The password that `make up` prints: good for a login, and then for nothing but to choose another.

That it is one stands in its hash, as the beginning of the salt: whatever sets another password, in the console or with
`manage.py changepassword`, takes the mark with it, and no page asks the database for it.
"""

from typing import Any

from django.contrib.auth.hashers import check_password, identify_hasher, is_password_usable, make_password
from django.core.exceptions import ValidationError
from django.utils.crypto import get_random_string

MARK = "onetime"
SALT_LETTERS = 22  # Django's own salts have 128 random bits


def one_time_hash(password: str) -> str:
    return make_password(password, salt=MARK + get_random_string(SALT_LETTERS))


def must_change(user: Any) -> bool:
    """Whether this user, or nobody, is logged in with a password that was printed."""
    encoded: str = getattr(user, "password", "")
    if MARK not in encoded or not is_password_usable(encoded):
        return False
    salt: str = identify_hasher(encoded).decode(encoded).get("salt", "")
    return salt.startswith(MARK)


class NotTheOneTimePassword:
    """One of AUTH_PASSWORD_VALIDATORS."""

    def validate(self, password: str, user: Any = None) -> None:
        if must_change(user) and check_password(password, user.password):
            raise ValidationError("This is the password that was printed; choose another.", code="one_time_password")

    def get_help_text(self) -> str:
        return "Your password can’t be one that was printed for you."
