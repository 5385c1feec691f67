"""Brings the database up to date, and makes the first operator."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

from syncsvc.checks import OURS
from syncsvc.logins.one_time import new_password, one_time_hash

OPERATOR = "operator"


class Command(BaseCommand):
    help = "Migrates, and creates the user `operator` with a one-time password, where nobody can log in yet."
    requires_system_checks = (OURS,)

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        users = get_user_model()
        if users.objects.filter(is_superuser=True).exists():
            reset = f".venv/bin/python manage.py one_time_password {OPERATOR}"
            self.stdout.write(f"log in as {OPERATOR} (password forgotten or expired: {reset})")
            return
        password = new_password()
        users.objects.create(username=OPERATOR, password=one_time_hash(password), is_staff=True, is_superuser=True)
        once = "shown this once, good for one login within a day: you choose your own then"
        self.stdout.write(f"log in as {OPERATOR} with the password {password} ({once})")
