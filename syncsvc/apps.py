from django.apps import AppConfig


class SyncsvcConfig(AppConfig):
    name = "syncsvc"
    verbose_name = "syncsvc"

    def ready(self) -> None:
        from syncsvc import checks  # noqa: F401 - registers the system checks
