#!/usr/bin/env python
"""Django's command line."""

import gc
import os
import sys


def main() -> None:
    gc.disable()  # until everything is loaded, see syncsvc.apps
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line

        from syncsvc.management.unreachable import explained
    except ImportError as error:
        sys.exit(f"{error}. Run `make up` once, then use .venv/bin/python manage.py")
    with explained(sys.argv):
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
