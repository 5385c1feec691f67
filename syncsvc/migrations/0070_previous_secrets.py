"""Several secrets may sign at once, each with its end: a list takes the place of one secret and its end."""

from django.db import migrations, models

import syncsvc.models.fields

# The stored token is text in a binary column; a secret that has ended is not taken along.
FORWARD = """
UPDATE syncsvc_app SET previous_secrets = jsonb_build_array(
  jsonb_build_object('token', convert_from(previous_secret, 'UTF8'), 'until', previous_secret_until))
WHERE previous_secret IS NOT NULL AND previous_secret_until > statement_timestamp()
"""
# Only one fits: the newest, which ends last.
BACKWARD = """
UPDATE syncsvc_app SET
  previous_secret = convert_to(previous_secrets -> 0 ->> 'token', 'UTF8'),
  previous_secret_until = (previous_secrets -> 0 ->> 'until')::timestamptz
WHERE jsonb_array_length(previous_secrets) > 0
"""


class Migration(migrations.Migration):
    dependencies = (("syncsvc", "0050_slow_is_not_dead"),)

    operations = (
        migrations.AddField(
            "app",
            "previous_secrets",
            syncsvc.models.fields.EndingSecretsField(default=list, editable=False),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RemoveField("app", "previous_secret"),
        migrations.RemoveField("app", "previous_secret_until"),
    )
