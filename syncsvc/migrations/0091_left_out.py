"""Large files and unsafe paths: their counts, and of which selection of files counts and ledgers are."""

from typing import Any

import django.contrib.postgres.fields
from django.db import migrations, models


def forget_clean_ledgers(apps: Any, schema_editor: Any) -> None:
    """The release before knows one selection: ledgers of another one are looked at row by row, or files stay away."""
    apps.get_model("syncsvc", "Subscription").objects.exclude(clean_selection="").update(clean_snapshot=None)


class Migration(migrations.Migration):
    dependencies = (("syncsvc", "0090_audit"),)

    operations = (
        migrations.AddField("snapshot", "large_files", models.PositiveIntegerField(default=0, db_default=0)),
        migrations.AddField("snapshot", "unsafe_paths", models.PositiveIntegerField(null=True)),
        migrations.AddField(
            "snapshot",
            "unsafe_examples",
            django.contrib.postgres.fields.ArrayField(
                models.BinaryField(), default=list, db_default=[], blank=True
            ),
        ),
        migrations.AddField("snapshot", "unsafe_left_out", models.BooleanField(default=False, db_default=False)),
        migrations.AddField(
            "snapshot", "selection", models.CharField(max_length=64, blank=True, default="", db_default="")
        ),
        migrations.AddField(
            "subscription",
            "clean_selection",
            models.CharField(max_length=64, blank=True, default="", db_default="", editable=False),
        ),
        migrations.RunPython(migrations.RunPython.noop, forget_clean_ledgers),
    )
