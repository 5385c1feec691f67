"""Headers and certificates of an app's own; null or blank: none."""

from django.db import migrations, models
from django.db.models import Q

import syncsvc.models.fields


class Migration(migrations.Migration):
    dependencies = (("syncsvc", "0092_git_forbidden_address"),)

    operations = (
        migrations.AddField("app", "headers", syncsvc.models.fields.SealedField(editable=False, null=True)),
        migrations.AddField(
            "app",
            "ca_certificate",
            models.TextField(blank=True, db_default="", default="", verbose_name="CA certificate"),
        ),
        migrations.AddField("app", "client_certificate", models.TextField(blank=True, db_default="", default="")),
        migrations.AddField("app", "client_key", syncsvc.models.fields.SealedField(editable=False, null=True)),
        migrations.AddConstraint(
            "app",
            models.CheckConstraint(
                condition=Q(client_certificate="", client_key=None) | (~Q(client_certificate="") & ~Q(client_key=None)),
                name="app_client_certificate_has_key",
            ),
        ),
    )
