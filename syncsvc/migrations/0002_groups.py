"""Three groups for the people of the console and the users of tokens: viewer, operator, administrator."""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

OPERATOR = ("retry_subscription", "bulk_retry", "cancel_operation")


def make_groups(apps: Any, schema_editor: Any) -> None:
    """Permissions are otherwise made after the last migration, which is too late to hand them out here."""
    config = apps.get_app_config("syncsvc")
    config.models_module = True  # the stub of a migration has none, and would be passed over
    create_permissions(config, verbosity=0, using=schema_editor.connection.alias, apps=apps)
    config.models_module = None
    ours = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="syncsvc")
    looking = ours.filter(codename__startswith="view_")
    groups = {"viewer": looking, "operator": looking | ours.filter(codename__in=OPERATOR), "administrator": ours}
    for name, permissions in groups.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [
        ("syncsvc", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    # Going back leaves the groups: people may be in them.
    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
