"""What subscriptions wait for that do not have everything, in words."""

from collections.abc import Mapping
from typing import Any

from syncsvc.words import listed, plural


def rest_text(counts: Mapping[str, Any]) -> str:
    """`2 are on their way, 1 is paused, 1 was stopped`, of those that do not fail; blank where all have everything."""
    paused, stopped, empty = counts["resting"], counts["stopped"], counts["empty"]
    on_the_way = counts["total"] - counts["synced"] - counts["failed"] - counts["retrying"] - paused - stopped - empty
    return listed(
        (
            (max(on_the_way, 0), plural(on_the_way, "is on its way", "are on their way")),
            (paused, plural(paused, "is paused", "are paused")),
            (stopped, plural(stopped, "was stopped", "were stopped")),
            (empty, plural(empty, "waits for its first commit", "wait for their first commits")),
        )
    )


def tries_again_text(counts: Mapping[str, Any]) -> str:
    """`try again by themselves, 1 of them when resumed`: the next try of subscriptions that are retrying."""
    number, paused = counts["retrying"], counts["retrying_paused"]
    if paused == number:
        return plural(number, "tries again when it is resumed", "try again when they are resumed")
    said = plural(number, "tries again by itself", "try again by themselves")
    return f"{said}, {paused:,} of them when resumed" if paused else said
