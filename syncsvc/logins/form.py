"""The console's login form."""

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError

from syncsvc.logins.backend import REFUSED


class LoginForm(AdminAuthenticationForm):
    """Says why a password that is right opens nothing."""

    def get_invalid_login_error(self) -> ValidationError:
        refusal: str = getattr(self.request, REFUSED, "")
        return ValidationError(refusal, code="refused") if refusal else super().get_invalid_login_error()
