"""What gunicorn serves."""

import os
from importlib import import_module

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
# Now, before gunicorn forks: otherwise at the first request of each of its processes.
for module in ("config.urls", "config.celery"):
    import_module(module)
