"""Every ON DELETE stands in the database, so that whatever deletes a row, and however, leaves nothing behind."""

import django.db.models.deletion
import syncsvc.models.app
import syncsvc.models.repository
from django.conf import settings
from django.db import migrations, models

# Django writes foreign keys to users without an ON DELETE. Their names have a hash of its own making.
OF_USERS = """
DO $$ DECLARE fk text; BEGIN
  SELECT conname INTO STRICT fk FROM pg_constraint
  WHERE conrelid = '{table}'::regclass AND contype = 'f' AND confrelid = 'auth_user'::regclass;
  EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I, ADD CONSTRAINT %I FOREIGN KEY (user_id)
    REFERENCES auth_user (id) {action} DEFERRABLE INITIALLY DEFERRED', fk, fk);
END $$
"""

# What a foreign key's ON DELETE CASCADE is, without the check of each row that is written.
FUNCTION = """
CREATE FUNCTION syncsvc_delete_referring() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE format('DELETE FROM %1$I USING gone WHERE %1$I.%2$I = gone.id', TG_ARGV[0], TG_ARGV[1]);
  RETURN NULL;
END $$
"""
TRIGGERS = [
    ('syncsvc_subscription', 'syncsvc_deliveredfile', 'subscription_id'),
    ('syncsvc_subscription', 'syncsvc_deliveryattempt', 'subscription_id'),
    ('syncsvc_syncrun', 'syncsvc_deliveryattempt', 'run_id'),
]
TRIGGER = """
CREATE TRIGGER {name} AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION syncsvc_delete_referring('{referring}', '{column}')
"""

# Left by deletes during a run.
ORPHANS = """
DELETE FROM syncsvc_deliveryattempt a WHERE NOT EXISTS (SELECT FROM syncsvc_syncrun r WHERE r.id = a.run_id);
DELETE FROM syncsvc_deliveredfile f WHERE NOT EXISTS (SELECT FROM syncsvc_subscription s WHERE s.id = f.subscription_id)
"""


# Passed the check of a stripped copy, and failed on each delivery.
SPACES = """
UPDATE syncsvc_app SET url = btrim(url, E' \\t\\n\\r\\f\\v') WHERE url <> btrim(url, E' \\t\\n\\r\\f\\v')
"""


def of_users(table: str, action: str) -> migrations.RunSQL:
    return migrations.RunSQL(OF_USERS.format(table=table, action=action), OF_USERS.format(table=table, action=''))


def trigger(table: str, referring: str, column: str) -> migrations.RunSQL:
    name = f'{referring}_{column}_gone'
    create = TRIGGER.format(name=name, table=table, referring=referring, column=column)
    return migrations.RunSQL(create, f'DROP TRIGGER {name} ON {table}')


class Migration(migrations.Migration):

    dependencies = [
        ('syncsvc', '0009_old_url'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(ORPHANS, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name='deliveredfile',
            name='subscription',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='delivered_files', to='syncsvc.subscription'),
        ),
        migrations.AlterField(
            model_name='deliveryattempt',
            name='run',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='attempts', to='syncsvc.syncrun'),
        ),
        migrations.AlterField(
            model_name='deliveryattempt',
            name='subscription',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='attempts', to='syncsvc.subscription'),
        ),
        migrations.AlterField(
            model_name='operation',
            name='retries',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.DB_SET_NULL, related_name='retried_by', to='syncsvc.operation'),
        ),
        migrations.AlterField(
            model_name='operation',
            name='user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='operationitem',
            name='operation',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DB_CASCADE, related_name='items', to='syncsvc.operation'),
        ),
        migrations.AlterField(
            model_name='operationitem',
            name='subscription',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.DB_SET_NULL, related_name='operation_items', to='syncsvc.subscription'),
        ),
        migrations.AlterField(
            model_name='snapshot',
            name='previous',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.DB_SET_NULL, related_name='+', to='syncsvc.snapshot'),
        ),
        migrations.AlterField(
            model_name='snapshot',
            name='repository',
            field=models.ForeignKey(on_delete=django.db.models.deletion.DB_CASCADE, related_name='snapshots', to='syncsvc.repository'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='app',
            field=models.ForeignKey(on_delete=django.db.models.deletion.DB_CASCADE, related_name='subscriptions', to='syncsvc.app'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='clean_snapshot',
            field=models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.DB_SET_NULL, related_name='+', to='syncsvc.snapshot'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='repository',
            field=models.ForeignKey(on_delete=django.db.models.deletion.DB_CASCADE, related_name='subscriptions', to='syncsvc.repository'),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='snapshot',
            field=models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.DB_SET_NULL, related_name='+', to='syncsvc.snapshot'),
        ),
        migrations.AlterField(
            model_name='syncrun',
            name='subscription',
            field=models.ForeignKey(on_delete=django.db.models.deletion.DB_CASCADE, related_name='runs', to='syncsvc.subscription'),
        ),
        migrations.AlterField(
            model_name='app',
            name='url',
            field=models.CharField(max_length=2000, validators=[syncsvc.models.app.validate_webhook_url], verbose_name='webhook URL'),
        ),
        migrations.AlterField(
            model_name='repository',
            name='url',
            field=models.CharField(max_length=2000, validators=[syncsvc.models.repository.validate_remote_url], verbose_name='URL'),
        ),
        migrations.RunSQL(SPACES, migrations.RunSQL.noop),
        of_users('syncsvc_operation', 'ON DELETE SET NULL'),
        of_users('syncsvc_apitoken', 'ON DELETE CASCADE'),
        migrations.RunSQL(FUNCTION, 'DROP FUNCTION syncsvc_delete_referring'),
        *(trigger(*of) for of in TRIGGERS),
    ]
