"""Logs: one structured line an event, JSON unless a person is watching."""

import logging
from collections.abc import Callable
from typing import Any

import structlog
from django.utils.module_loading import import_string

QUIET_LOGGERS = ("axes", "celery.worker.strategy", "celery.app.trace", "celery.beat", "git", "urllib3")


def configure_logging(*, level: str, human: bool, visible: str) -> None:
    """`visible` names the function that shows a text's hidden characters: names and errors come from elsewhere."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if human
        else structlog.processors.JSONRenderer()
    )
    show: Callable[[str], str] = import_string(visible)

    def shown(value: Any) -> Any:
        if isinstance(value, str):
            return show(value)
        if isinstance(value, dict):
            return {shown(name): shown(item) for name, item in value.items()}
        return [shown(item) for item in value] if isinstance(value, list | tuple) else value

    def show_event(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {name: shown(value) for name, value in event.items()}

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # Tracebacks show no local variables: those hold secrets and bodies.
            structlog.processors.format_exc_info,
            show_event,
            renderer,
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
