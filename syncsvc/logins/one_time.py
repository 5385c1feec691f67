"""The password that `make up` prints: good for one login within a day, and then for nothing but to choose another.

The mark of such a password, and when it was made, stand in its hash, as the beginning of the salt: whatever sets
another password, in the console or with `manage.py changepassword`, takes the mark with it, and no page asks the
database for it.
"""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import check_password, identify_hasher, is_password_usable, make_password
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.crypto import get_random_string

MARK = "onetime"
USED = f"{MARK}.used"
SALT_LETTERS = 22  # Django's own salts have 128 random bits
LASTS = timedelta(days=1)


def new_password() -> str:
    return secrets.token_urlsafe(12)


def one_time_hash(password: str, *, made_at: datetime | None = None) -> str:
    """The hash of a password that nobody has logged in with yet; it expires LASTS after `made_at` (None: now)."""
    made = int((made_at or timezone.now()).timestamp())
    return make_password(password, salt=f"{MARK}.{made}.{get_random_string(SALT_LETTERS)}")


def must_change(user: Any) -> bool:
    """Whether this user, or nobody, is logged in with a password that was printed."""
    return _salt(user).startswith(MARK)


def use(user: Any, password: str) -> str:
    """Spends the one-time password, which must be right, for one login; says why not, or nothing.

    One conditional UPDATE: of two logins at the same time one is refused.
    """
    _, _, rest = _salt(user).partition(".")
    made = rest.partition(".")[0]
    if not made.isdecimal():  # spent, or made by a version that kept no time
        return f"This password was good for one login, and has been used. {_another(user)}"
    if datetime.fromtimestamp(int(made), UTC) + LASTS < timezone.now():
        return f"This password was good for a day, and was not used in it. {_another(user)}"
    spent = make_password(password, salt=f"{USED}.{get_random_string(SALT_LETTERS)}")
    unspent = get_user_model()._default_manager.filter(pk=user.pk, password=user.password)
    if not unspent.update(password=spent):
        return f"This password was good for one login, and has been used meanwhile. {_another(user)}"
    user.password = spent
    return ""


def _another(user: Any) -> str:
    return f"Make another where syncsvc runs: manage.py one_time_password {user.get_username()}"


def _salt(user: Any) -> str:
    """Of a password that may be a one-time one; blank for any other."""
    encoded: str = getattr(user, "password", "")
    if MARK not in encoded or not is_password_usable(encoded):
        return ""
    salt: str = identify_hasher(encoded).decode(encoded).get("salt", "")
    return salt


class NotTheOneTimePassword:
    """One of AUTH_PASSWORD_VALIDATORS."""

    def validate(self, password: str, user: Any = None) -> None:
        if must_change(user) and check_password(password, user.password):
            raise ValidationError("This is the password that was printed; choose another.", code="one_time_password")

    def get_help_text(self) -> str:
        return "Your password can’t be one that was printed for you."
