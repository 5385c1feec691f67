"""The migrations say what the models say."""

import pytest
from django.core.management import call_command


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_django_s_checks_have_nothing_to_say() -> None:
    """All there are, which load every page and address; commands run those of our settings only."""
    call_command("check", fail_level="WARNING")
