"""Celery, which only wakes workers: what is due, and when, stands in the database."""

import os
from ssl import CERT_REQUIRED

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES

if not settings.configured:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Celery would run every check of Django, for which all pages of the console are loaded; ours have been run.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

OVER_TLS = settings.REDIS_URL.startswith("rediss:")
KINDS = ("live", "bulk")  # in this order: a worker with a free slot takes what is live first
QUEUES = [f"{kind}.{shard}" for kind in KINDS for shard in range(settings.SYNC_QUEUES)]


def worker_queues(shards: list[str]) -> list[str]:
    """The queues of a worker that serves these shards (none: all), in the order in which it takes from them."""
    return [queue for queue in QUEUES if not shards or queue.partition(".")[2] in shards]


TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "config.transport:ForgivingTransport"))
app = Celery("syncsvc")
app.set_default()  # in every thread: a web server's have no current app of their own, and would look for RabbitMQ
app.conf.update(
    broker_url=settings.REDIS_URL,
    # Celery would take any certificate. What stands behind the `?` of REDIS_URL comes first.
    broker_use_ssl={"ssl_cert_reqs": CERT_REQUIRED, "ssl_check_hostname": True} if OVER_TLS else None,
    broker_connection_timeout=2,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # Redis may be away for as long as it likes
    broker_channel_error_retry=True,  # so may it refuse
    broker_transport_options={
        "queue_order_strategy": "priority",  # strictly in the order of QUEUES
        "priority_steps": [0],  # one list a queue instead of four
        # A message that dies with its worker is sent again by the sweep, so Redis need not keep a copy of it.
        "ack_emulation": False,
        "socket_connect_timeout": 2,
        "socket_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry_on_timeout": False,
    },
    # A wake-up that cannot be sent is sent again by the sweep; who asked for it must not wait.
    task_publish_retry=False,
    task_ignore_result=True,
    task_acks_late=False,
    task_serializer="json",
    accept_content=["json"],
    task_queues=[Queue(name) for name in QUEUES],
    task_default_queue=QUEUES[0],
    task_create_missing_queues=False,
    worker_pool="config.pool:ThreadsWithoutReserve",
    worker_consumer="config.consumer:PatientConsumer",
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,  # see config.pool
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    beat_scheduler="syncsvc.beat:SweepScheduler",
)
app.autodiscover_tasks(["syncsvc"])


@setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Being connected is enough: Celery then leaves logging as config.logs set it up."""
