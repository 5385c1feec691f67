"""The error kind git_forbidden_address."""

from typing import Any

from django.db import migrations, models

KINDS = [
    "endpoint_timeout", "endpoint_unreachable", "endpoint_tls", "endpoint_error", "endpoint_rejected",
    "endpoint_throttled", "endpoint_gone", "endpoint_forbidden_address", "endpoint_circuit_open", "git_auth",
    "git_not_found", "git_forbidden_address", "git_unreachable", "git_timeout", "git_corrupt", "repository_too_large",
    "mass_delete_held", "worker_disk", "egress_proxy", "internal",
]
CONSTRAINTS = {
    "operationitem": "item_error_kind_known",
    "repository": "repository_error_kind_known",
    "subscription": "subscription_error_kind_known",
    "syncrun": "run_error_kind_known",
}
# Whether the model's column is editable.
COLUMNS = {"deliveryattempt": True, "operationitem": True, "repository": False, "subscription": False, "syncrun": True}


def column(*, editable: bool) -> "models.CharField[str, str]":
    choices = [(kind, kind) for kind in KINDS]
    return models.CharField(
        blank=True, choices=choices, db_default="", default="", max_length=32, editable=editable
    )


def constraint(name: str) -> models.CheckConstraint:
    return models.CheckConstraint(condition=models.Q(error_kind__in=["", *KINDS]), name=name)


def give_older_kind(apps: Any, schema_editor: Any) -> None:
    """The release before does not know the kind, and its constraints refuse it."""
    for model in COLUMNS:
        apps.get_model("syncsvc", model).objects.filter(error_kind="git_forbidden_address").update(error_kind="git_not_found")


class Migration(migrations.Migration):
    dependencies = (("syncsvc", "0091_left_out"),)

    operations = (
        *(migrations.RemoveConstraint(model, name) for model, name in CONSTRAINTS.items()),
        *(migrations.AlterField(model, "error_kind", column(editable=kept)) for model, kept in COLUMNS.items()),
        *(migrations.AddConstraint(model, constraint(name)) for model, name in CONSTRAINTS.items()),
        migrations.RunPython(migrations.RunPython.noop, give_older_kind),
    )
