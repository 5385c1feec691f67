"""The pages and live parts that are measured: each a name, an address, and the row it is about."""

from typing import NamedTuple

import psycopg


class Page(NamedTuple):
    """`row` is a query for what stands in the address as {}: the row with most behind it."""

    address: str
    row: str = ""

    def path(self, connection: "psycopg.Connection[tuple[object, ...]]") -> str:
        if not self.row:
            return self.address
        found = connection.execute(self.row).fetchone()
        assert found is not None, f"there is no row for {self.address}"
        return self.address.format(*found)


ADMIN = "/admin/syncsvc"
APP = "SELECT app_id FROM syncsvc_subscription GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
REPOSITORY = "SELECT repository_id FROM syncsvc_subscription GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
SUBSCRIPTION = "SELECT subscription_id FROM syncsvc_deliveryattempt GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
FAILED = "SELECT id FROM syncsvc_subscription WHERE status = 'failed' ORDER BY error_kind, id LIMIT 1"
SYNCING = "SELECT id FROM syncsvc_subscription WHERE status = 'syncing' ORDER BY id LIMIT 1"
RUN = "SELECT id FROM syncsvc_syncrun ORDER BY requests DESC LIMIT 1"
ATTEMPT = "SELECT id FROM syncsvc_deliveryattempt WHERE error_kind <> '' ORDER BY id DESC LIMIT 1"
FILE = "SELECT id FROM syncsvc_deliveredfile ORDER BY subscription_id, path LIMIT 1"
RUNNING = "SELECT id FROM syncsvc_operation WHERE status = 'running' ORDER BY total DESC LIMIT 1"
ENDED = "SELECT id FROM syncsvc_operation WHERE status = 'finished' ORDER BY total DESC LIMIT 1"
ITEM = "SELECT id FROM syncsvc_operationitem WHERE status = 'failed' ORDER BY id DESC LIMIT 1"
SNAPSHOT = "SELECT id FROM syncsvc_snapshot ORDER BY id DESC LIMIT 1"
NIGHTLY = "SELECT id FROM syncsvc_apitoken LIMIT 1"

# Lists have pages of 50, and those of millions of rows end at 10,000.
LAST_PAGE = "SELECT least(200, (count(*) + 49) / 50) FROM (SELECT FROM syncsvc_{} LIMIT 10000) AS row"

PAGES = {
    "overview": Page("/admin/"),
    "failures": Page("/admin/failures/"),
    "queue": Page("/admin/queue/"),
    "apps": Page(f"{ADMIN}/app/"),
    "apps, searched": Page(f"{ADMIN}/app/?q=billing"),
    "app": Page(f"{ADMIN}/app/{{}}/change/", APP),
    "repositories": Page(f"{ADMIN}/repository/"),
    "repositories, searched": Page(f"{ADMIN}/repository/?q=acme"),
    "repository": Page(f"{ADMIN}/repository/{{}}/change/", REPOSITORY),
    "subscriptions": Page(f"{ADMIN}/subscription/"),
    "subscriptions, last page": Page(f"{ADMIN}/subscription/?p={{}}", LAST_PAGE.format("subscription")),
    "subscriptions, searched": Page(f"{ADMIN}/subscription/?q=acme/handbook"),
    "subscriptions, failed": Page(f"{ADMIN}/subscription/?status__exact=failed"),
    "subscriptions of an app": Page(f"{ADMIN}/subscription/?app__exact={{}}", APP),
    "subscription": Page(f"{ADMIN}/subscription/{{}}/change/", SUBSCRIPTION),
    "subscription, failed": Page(f"{ADMIN}/subscription/{{}}/change/", FAILED),
    "runs": Page(f"{ADMIN}/syncrun/"),
    "runs, last page": Page(f"{ADMIN}/syncrun/?p={{}}", LAST_PAGE.format("syncrun")),
    "runs, searched": Page(f"{ADMIN}/syncrun/?q=billing"),
    "runs, failed": Page(f"{ADMIN}/syncrun/?outcome__exact=failed"),
    "runs, held": Page(f"{ADMIN}/syncrun/?outcome__exact=held"),
    "runs of a subscription": Page(f"{ADMIN}/syncrun/?subscription__exact={{}}", SUBSCRIPTION),
    "run": Page(f"{ADMIN}/syncrun/{{}}/change/", RUN),
    "attempts": Page(f"{ADMIN}/deliveryattempt/"),
    "attempts, last page": Page(f"{ADMIN}/deliveryattempt/?p={{}}", LAST_PAGE.format("deliveryattempt")),
    "attempts, timeouts": Page(f"{ADMIN}/deliveryattempt/?error_kind__exact=endpoint_timeout"),
    "attempts, a kind of which there is none": Page(f"{ADMIN}/deliveryattempt/?error_kind__exact=git_corrupt"),
    "attempts of a subscription": Page(f"{ADMIN}/deliveryattempt/?subscription__exact={{}}", SUBSCRIPTION),
    "attempts of a run": Page(f"{ADMIN}/deliveryattempt/?run__exact={{}}", RUN),
    "attempt": Page(f"{ADMIN}/deliveryattempt/{{}}/change/", ATTEMPT),
    "files": Page(f"{ADMIN}/deliveredfile/"),
    "files of a subscription": Page(f"{ADMIN}/deliveredfile/?subscription__exact={{}}", SUBSCRIPTION),
    "files by path": Page(f"{ADMIN}/deliveredfile/?subscription__exact={{}}&q=docs/section-0001/*", SUBSCRIPTION),
    "file": Page(f"{ADMIN}/deliveredfile/{{}}/change/", FILE),
    "snapshots": Page(f"{ADMIN}/snapshot/"),
    "snapshots of a repository": Page(f"{ADMIN}/snapshot/?repository__exact={{}}", REPOSITORY),
    "snapshot": Page(f"{ADMIN}/snapshot/{{}}/change/", SNAPSHOT),
    "operations": Page(f"{ADMIN}/operation/"),
    "operation, running": Page(f"{ADMIN}/operation/{{}}/change/", RUNNING),
    "operation, ended": Page(f"{ADMIN}/operation/{{}}/change/", ENDED),
    "items": Page(f"{ADMIN}/operationitem/"),
    "items of an operation": Page(f"{ADMIN}/operationitem/?operation__exact={{}}", ENDED),
    "item": Page(f"{ADMIN}/operationitem/{{}}/change/", ITEM),
    "tokens": Page(f"{ADMIN}/apitoken/"),
    "token": Page(f"{ADMIN}/apitoken/{{}}/change/", NIGHTLY),
}
# What an open tab asks for every two seconds.
PARTS = {
    "the overview": Page("/admin/?part=now"),
    "the queue": Page("/admin/queue/?part=now"),
    "the queue, searched": Page("/admin/queue/?part=now&q=acme"),
    "an operation's bar": Page(f"{ADMIN}/operation/{{}}/change/?part=bar", RUNNING),
    "a subscription's status": Page(f"{ADMIN}/subscription/{{}}/change/?part=status", SYNCING),
    "an operation's buttons": Page(f"{ADMIN}/operation/{{}}/change/?part=buttons", RUNNING),
}
# What 200 open tabs poll.
TABS = Page("/admin/?part=now")
