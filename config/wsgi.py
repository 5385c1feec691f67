"""Django as a WSGI application, which config/server.py serves."""

import gc
import os
from importlib import import_module

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
# Now, before the web server forks: otherwise at the first request of each of its processes.
for module in ("config.urls", "config.celery"):
    import_module(module)
gc.freeze()  # so that collecting garbage copies none of it into each process
