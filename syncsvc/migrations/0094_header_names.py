"""An attempt keeps the names of the app's own headers, and an app until when its client certificate is valid."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = (("syncsvc", "0093_app_authentication"),)

    operations = (
        migrations.AddField("deliveryattempt", "header_names", models.TextField(blank=True, null=True)),
        migrations.AddField("app", "client_certificate_ends_at", models.DateTimeField(editable=False, null=True)),
    )
