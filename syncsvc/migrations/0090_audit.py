"""The audit takes the place of the admin's log, whose entries go with their user; what that has is copied."""

from itertools import batched
from typing import Any

import django.db.models.functions.datetime
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

ACTIONS = {1: "added", 2: "changed", 3: "deleted"}


def copy_log(apps: Any, schema_editor: Any) -> None:
    from django.contrib.admin.models import LogEntry  # reads what was done, which is stored as JSON

    entry = apps.get_model("syncsvc", "AuditEntry")
    log = apps.get_model("admin", "LogEntry").objects.select_related("user", "content_type").order_by("id")
    for rows in batched(log.iterator(500), 500):
        entry.objects.bulk_create(
            entry(
                at=row.action_time,
                last_at=row.action_time,
                action=ACTIONS.get(row.action_flag, "changed"),
                actor=row.user.username[:200],
                user_id=row.user_id,
                source="console",
                object_type=_noun(apps, row.content_type),
                object_id=(row.object_id or "")[:64],
                object_name=row.object_repr[:200],
                text=LogEntry(change_message=row.change_message).get_change_message()[:1000],
            )
            for row in rows
        )


def _noun(apps: Any, content_type: Any) -> str:
    if content_type is None:
        return ""
    try:
        return str(apps.get_model(content_type.app_label, content_type.model)._meta.verbose_name)
    except LookupError:
        return str(content_type.model)


def permit_administrators(apps: Any, schema_editor: Any) -> None:
    config = apps.get_app_config("syncsvc")
    config.models_module = True  # as in 0002_groups
    create_permissions(config, verbosity=0, using=schema_editor.connection.alias, apps=apps)
    config.models_module = None
    group = apps.get_model("auth", "Group").objects.filter(name="administrator").first()
    if group is not None:
        permissions = apps.get_model("auth", "Permission").objects
        group.permissions.add(permissions.get(codename="view_auditentry", content_type__app_label="syncsvc"))


class Migration(migrations.Migration):
    dependencies = [
        ("syncsvc", "0081_egress_proxy"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ("times", models.PositiveIntegerField(db_default=1, default=1)),
                (
                    "last_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False, verbose_name="last"
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("added", "added"),
                            ("changed", "changed"),
                            ("deleted", "deleted"),
                            ("logged_in", "logged in"),
                            ("login_failed", "login failed"),
                            ("logged_out", "logged out"),
                            ("token_used", "token used"),
                        ],
                        max_length=12,
                    ),
                ),
                ("actor", models.CharField(blank=True, default="", max_length=200, verbose_name="who")),
                ("user_id", models.BigIntegerField(null=True)),
                (
                    "source",
                    models.CharField(
                        choices=[("console", "Console"), ("command", "Command"), ("api", "Api")], max_length=7
                    ),
                ),
                ("address", models.GenericIPAddressField(null=True)),
                ("object_type", models.CharField(blank=True, default="", max_length=50, verbose_name="kind")),
                ("object_id", models.CharField(blank=True, default="", max_length=64)),
                ("object_name", models.CharField(blank=True, default="", max_length=200, verbose_name="what")),
                ("text", models.CharField(blank=True, default="", max_length=1000)),
            ],
            options={
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit entries",
                "ordering": ("-id",),
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["object_id", "-id"], name="audit_of_object"),
                    models.Index(fields=["actor", "-id"], name="audit_of_actor"),
                    models.Index(fields=["object_name", "-id"], name="audit_of_name"),
                    models.Index(fields=["address", "-id"], name="audit_of_address"),
                    models.Index(fields=["at"], name="audit_at"),
                    models.Index(
                        condition=models.Q(("action__in", ("login_failed", "token_used"))),
                        fields=["action", "actor", "-at"],
                        name="audit_repeated",
                    ),
                ],
            },
        ),
        migrations.RunPython(copy_log, migrations.RunPython.noop),
        migrations.RunPython(permit_administrators, migrations.RunPython.noop),
    ]
