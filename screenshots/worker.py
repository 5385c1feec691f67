"""A worker on a machine of an invented name: the pictures do not tell of the one that they were made on."""

import os
import socket
import sys

from django.core.management import execute_from_command_line

MACHINE = "node-1"

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    socket.gethostname = lambda: MACHINE
    execute_from_command_line(["manage.py", "worker", *sys.argv[1:]])
