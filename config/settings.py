"""The only settings module. Every value comes from the environment; docs/configuration.md lists them all."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

from config.env import Env
from config.logs import configure_logging

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("DATA_DIR", BASE_DIR / ".data"))


def _folder_of(package: str) -> Path:
    """Found, not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImproperlyConfigured(f"The package {package} is missing; install requirements.txt.")
    return Path(spec.origin).parent


# The API's page is made of these files. As one of INSTALLED_APPS every command and worker would import it.
NINJA_DIR = _folder_of("ninja")

# `make up` writes the secrets it generated, and where its embedded servers listen, to .data/env.
env = Env(defaults_file=DATA_DIR / "env")

DEBUG = env.flag("DEBUG")
SECRET_KEY = env.text("SECRET_KEY")
ENCRYPTION_KEYS = env.words("ENCRYPTION_KEYS")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
WEB_PORT = env.integer("WEB_PORT", 8000, minimum=1, maximum=65535)
DATABASE_URL = env.text("DATABASE_URL")
DATABASE_OWNER_URL = env.text("DATABASE_OWNER_URL", beside="DATABASE_URL")
REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")


def _pool() -> dict[str, float]:
    """A pool: runs in both rooms, the recorder of each, and polls borrow a connection each while they need it."""
    return {
        "min_size": 1,
        "max_size": env.integer("DATABASE_POOL_SIZE", 96, minimum=4),
        # In seconds. psycopg's own pauses between two attempts double for five minutes: a server that was away for two
        # minutes would be missed for two more. Having given up, it tries again as soon as a connection is wanted.
        "timeout": 3,
        "reconnect_timeout": 2,
    }


# What may stand behind the `?` of DATABASE_URL: how libpq makes a connection over TLS.
TLS_OPTIONS = {"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation", "channel_binding"}


def _database(name: str, url: str) -> dict[str, Any]:
    parts = urlsplit(url or "postgresql://127.0.0.1:5432/syncsvc")
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{name} must begin with postgresql://; syncsvc runs on PostgreSQL only.")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := options.keys() - TLS_OPTIONS:
        known = ", ".join(sorted(TLS_OPTIONS))
        raise ImproperlyConfigured(f"{name} has {sorted(unknown)[0]!r} behind its `?`; these may stand there: {known}.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "CONN_HEALTH_CHECKS": True,
        # Only what `syncsvc.store.statements` runs is prepared; the ORM's own statements never are.
        "OPTIONS": {"connect_timeout": 5, "pool": POOL, "prepare_threshold": 0, **options},
    }


POOL = _pool()
DATABASES = {"default": _database("DATABASE_URL", DATABASE_URL)}
# As which `migrate` logs in; empty: as DATABASE_URL's role.
DATABASE_OWNER = _database("DATABASE_OWNER_URL", DATABASE_OWNER_URL) if DATABASE_OWNER_URL else {}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "syncsvc.admin.config.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "axes",
    "syncsvc.apps.SyncsvcConfig",
]
MIDDLEWARE = [
    "config.proxy.ClientAddressMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "config.static.StaticFilesMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "syncsvc.admin.visible_answers.VisibleAnswersMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "syncsvc.admin.error_pages.QueryLengthMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "syncsvc.logins.middleware.SessionUserMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "syncsvc.admin.error_pages.MethodPagesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates", NINJA_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AUTH_PASSWORD_VALIDATORS.append({"NAME": "syncsvc.logins.one_time.NotTheOneTimePassword"})
# django-axes refuses before the password is looked at.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "syncsvc.logins.backend.PasswordBackend"]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"  # where the login's own `next` is none of ours
CSRF_FAILURE_VIEW = "syncsvc.admin.error_pages.csrf_failure"
LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static", NINJA_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # a checkout serves its files without a collectstatic step
WHITENOISE_AUTOREFRESH = DEBUG

# Security of the console. Behind a TLS proxy set HTTPS=1; the rest follows from it.
HTTPS = env.flag("HTTPS")
PROXIES = env.integer("PROXIES", 0)
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "img-src": [CSP.SELF, "data:"],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
    "form-action": [CSP.SELF],
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
HSTS_SECONDS = env.integer("HSTS_SECONDS", 31_536_000)
SECURE_HSTS_SECONDS = HSTS_SECONDS if HTTPS else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_AGE = env.integer("SESSION_SECONDS", 43_200, minimum=60)
SESSION_ENGINE = "syncsvc.logins.sessions"
CSRF_COOKIE_HTTPONLY = False
X_FRAME_OPTIONS = "DENY"

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "syncsvc.cache.ForgivingRedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
            "pool_class": "syncsvc.redis_connections.FollowingPool",
        },
    }
}

CACHES["counts"] = {**CACHES["default"], "BACKEND": "syncsvc.cache.Counts"}
CACHES["sessions"] = {**CACHES["default"], "BACKEND": "syncsvc.cache.SessionCopies"}
SESSION_CACHE_ALIAS = "sessions"

# What a request may bring; config/gateway.py holds clients to it before Django sees them.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # bytes of a body
FILE_UPLOAD_HANDLERS = ["config.uploads.NoFiles"]

# Failed logins are counted by name and address, by name, and by address: syncsvc/logins/limits.py.
LOGIN_FAILURES = env.integer("LOGIN_FAILURES", 10, minimum=1)
LOGIN_NAME_FAILURES = env.integer("LOGIN_NAME_FAILURES", 20, minimum=1)
LOGIN_ADDRESS_FAILURES = env.integer("LOGIN_ADDRESS_FAILURES", 20, minimum=1)
LOGIN_WAIT_SECONDS = env.integer("LOGIN_WAIT_SECONDS", 900, minimum=1)
CACHES["logins"] = {
    **CACHES["default"],
    "BACKEND": "syncsvc.cache.FailedLoginsCache",
    "KEY_PREFIX": "logins",
    "TIMEOUT": LOGIN_WAIT_SECONDS,
}
AXES_CACHE = "logins"
AXES_HANDLER = "syncsvc.logins.limits.LoginLimits"
AXES_LOCKOUT_CALLABLE = "syncsvc.logins.throttle.locked_out"
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # refused tries are marked as such
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_SENSITIVE_PARAMETERS = ["username"]  # not in the log: people type their password there
MIGRATION_MODULES = {"axes": None}  # its tables are for another way of counting

# git
GIT_ALLOW_LOCAL = env.flag("GIT_ALLOW_LOCAL")
GIT_ALLOWED_NETWORKS = env.words("GIT_ALLOWED_NETWORKS")
GIT_ALLOWED_PORTS = env.words("GIT_ALLOWED_PORTS", "22,80,443,9418")
GIT_TIMEOUT = env.decimal("GIT_TIMEOUT", 600, minimum=1)
GIT_LS_REMOTE_TIMEOUT = env.decimal("GIT_LS_REMOTE_TIMEOUT", 30, minimum=1)
GIT_FULL_FETCH_MAX_BYTES = env.integer("GIT_FULL_FETCH_MAX_BYTES", 2 * 1024**3)
MAX_REPOSITORY_BYTES = env.integer("MAX_REPOSITORY_BYTES", 10 * 1024**3)
MAX_REFS_BYTES = env.integer("MAX_REFS_BYTES", 128 * 1024**2)
GIT_MEMORY_BYTES = env.integer("GIT_MEMORY_BYTES", 1024**3)
GIT_CPU_SECONDS = env.integer("GIT_CPU_SECONDS", 1800)
GIT_CA_FILE = env.text("GIT_CA_FILE")
MAX_FILES = env.integer("MAX_FILES", 2_000_000, minimum=1)
MAX_FILE_BYTES = env.integer("MAX_FILE_BYTES", 0)  # 0: files of any size
UNSAFE_PATHS = env.one_of("UNSAFE_PATHS", "send", ("send", "leave_out"))
PLAN_SECONDS = env.decimal("PLAN_SECONDS", 900, minimum=1)
MIRROR_DIR = Path(env.text("MIRROR_DIR", str(DATA_DIR / "mirrors")))
MIRROR_MAX_BYTES = env.integer("MIRROR_MAX_BYTES", 20 * 1024**3)
SPOOL_DIR = env.text("SPOOL_DIR")  # blank: the system's folder for temporary files

# the way out, of git and webhooks
EGRESS_PROXY = env.secret("EGRESS_PROXY")
NAT64_PREFIXES = env.words("NAT64_PREFIXES")

# delivery
WEBHOOK_ALLOWED_NETWORKS = env.words("WEBHOOK_ALLOWED_NETWORKS")
WEBHOOK_TIMEOUT = env.decimal("WEBHOOK_TIMEOUT", 15, minimum=0.1)
WEBHOOK_CONNECT_TIMEOUT = env.decimal("WEBHOOK_CONNECT_TIMEOUT", 5, minimum=0.1)
CONTENT_CHUNK_BYTES = env.integer("CONTENT_CHUNK_BYTES", 512 * 1024, minimum=1024)
MASS_DELETE_PERCENT = env.integer("MASS_DELETE_PERCENT", 50)
MASS_DELETE_MINIMUM = env.integer("MASS_DELETE_MINIMUM", 20)

# retries and circuits
RETRY_DELAYS = env.seconds("RETRY_DELAYS", "5,30,120,600,1800")
RESEND_DELAYS = env.seconds("RESEND_DELAYS", "1,4")
THROTTLE_FIRST_SECONDS = env.decimal("THROTTLE_FIRST_SECONDS", 1, minimum=0.01)
THROTTLE_MOST_SECONDS = env.decimal("THROTTLE_MOST_SECONDS", 30, minimum=0.01)
THROTTLE_WAIT_SECONDS = env.decimal("THROTTLE_WAIT_SECONDS", 5, minimum=0)
RETRY_JITTER_PERCENT = env.integer("RETRY_JITTER_PERCENT", 20)
RETRY_SLOW_SECONDS = env.decimal("RETRY_SLOW_SECONDS", 3600, minimum=1)
RETRY_AFTER_MAX_SECONDS = env.decimal("RETRY_AFTER_MAX_SECONDS", 3600, minimum=1)
CIRCUIT_THRESHOLD = env.integer("CIRCUIT_THRESHOLD", 5, minimum=1)
CIRCUIT_COOLDOWN_SECONDS = env.decimal("CIRCUIT_COOLDOWN_SECONDS", 30, minimum=1)
CIRCUIT_COOLDOWN_MAX_SECONDS = env.decimal("CIRCUIT_COOLDOWN_MAX_SECONDS", 1800, minimum=1)
CIRCUIT_FAIL_AFTER_SECONDS = env.decimal("CIRCUIT_FAIL_AFTER_SECONDS", 3600, minimum=1)
GIT_CIRCUIT_COOLDOWN_SECONDS = env.decimal("GIT_CIRCUIT_COOLDOWN_SECONDS", 30, minimum=1)
GIT_CIRCUIT_COOLDOWN_MAX_SECONDS = env.decimal("GIT_CIRCUIT_COOLDOWN_MAX_SECONDS", 1800, minimum=1)

# scheduler and workers
POLL_SECONDS = env.integer("POLL_SECONDS", 60, minimum=1)
SWEEP_SECONDS = env.decimal("SWEEP_SECONDS", 1, minimum=0.1)
SWEEP_BATCH = env.integer("SWEEP_BATCH", 500, minimum=1)
LEASE_SECONDS = env.decimal("LEASE_SECONDS", 60, minimum=1)
LEASE_RENEW_SECONDS = env.decimal("LEASE_RENEW_SECONDS", 10, minimum=0.1)
REQUEUE_AFTER = env.decimal("REQUEUE_AFTER", 60, minimum=1)
SYNC_QUEUES = env.integer("SYNC_QUEUES", 1, minimum=1)
WORKER_THREADS = env.integer("WORKER_THREADS", 16, minimum=1)
WORKER_QUEUES = env.words("WORKER_QUEUES")
STOP_SECONDS = env.decimal("STOP_SECONDS", 25, minimum=1)
ATTEMPT_RETENTION_DAYS = env.integer("ATTEMPT_RETENTION_DAYS", 14, minimum=1)
AUDIT_RETENTION_DAYS = env.integer("AUDIT_RETENTION_DAYS", 365, minimum=1)
RUN_RETENTION_DAYS = env.integer("RUN_RETENTION_DAYS", 90, minimum=1)

# bulk operations
BULK_MAX_RUNNING = env.integer("BULK_MAX_RUNNING", 50, minimum=1)
BULK_CONFIRM_OVER = env.integer("BULK_CONFIRM_OVER", 1000, minimum=1)
BULK_CONFIRM_OVER_FILES = env.integer("BULK_CONFIRM_OVER_FILES", 100_000, minimum=1)
OPERATION_RETENTION_DAYS = env.integer("OPERATION_RETENTION_DAYS", 90, minimum=1)
API_CALLS_PER_MINUTE = env.integer("API_CALLS_PER_MINUTE", 600, minimum=1)

LOG_LEVEL = env.text("LOG_LEVEL", "INFO")
LOGGING_CONFIG = None
configure_logging(level=LOG_LEVEL, human=sys.stderr.isatty(), visible="syncsvc.visible.visible")
