from django.apps import AppConfig


class SyncsvcConfig(AppConfig):
    name = "syncsvc"
    verbose_name = "syncsvc"

    def ready(self) -> None:
        import config.celery  # noqa: F401 - the Celery app that wake-ups are sent through
        from syncsvc import checks  # noqa: F401 - registers the system checks
