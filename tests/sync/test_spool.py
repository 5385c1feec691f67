"""Changes wait on disk without being altered, whatever their number."""

import itertools
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from syncsvc.sync.spool import GROUP, Spool
from syncsvc.types import Change, ChangeKind

changes = st.builds(
    Change,
    kind=st.sampled_from(ChangeKind),
    path=st.binary(min_size=1, max_size=50),
    mode=st.none() | st.sampled_from(("100644", "100755", "120000")),
    blob=st.none() | st.text("0123456789abcdef", min_size=40, max_size=40),
    size=st.integers(0, 2**40),
    previous_blob=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    id=st.none() | st.uuids().map(str),
)


def read(spool: Spool, kind: ChangeKind) -> list[Change]:
    return [change for group, _ in spool.groups(kind) for change in group]


@given(st.lists(changes, max_size=30), st.integers(0, 30))
def test_each_kind_comes_back_as_it_went_in_and_in_that_order_but_repeats_last(some: list[Change], times: int) -> None:
    everything = some * times
    with Spool() as spool:
        for change in everything:
            spool.add(change)

        assert len(spool) == len(everything)
        assert spool.bytes == sum(change.size for change in everything)
        for kind in ChangeKind:
            expected = sorted((change for change in everything if change.kind is kind), key=lambda c: c.id is not None)
            assert spool.counts[kind] == len(expected)
            assert read(spool, kind) == expected


def change(number: int) -> Change:
    return Change(ChangeKind.CREATED, b"%06d" % number, "100644", "ab" * 20, number, None, None)


def test_groups_are_full_but_for_the_last() -> None:
    for count in (0, 1, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP):
        with Spool() as spool:
            for number in range(count):
                spool.add(change(number))

            lengths = [len(group) for group, _ in spool.groups(ChangeKind.CREATED)]

        assert sum(lengths) == count
        assert all(length == GROUP for length in lengths[:-1])
        assert all(0 < length <= GROUP for length in lengths)


def test_scattered_groups_come_whole_and_in_another_order() -> None:
    with Spool() as spool:
        for number in range(40 * GROUP + 1):
            spool.add(change(number))
        groups = spool.groups(ChangeKind.CREATED)
        first = next(groups)[0]
        spool.scatter()
        rest = [group for group, _ in groups]

    assert first == [change(number) for number in range(GROUP)]
    assert sorted(itertools.chain(first, *rest)) == [change(number) for number in range(40 * GROUP + 1)]
    assert all(group == sorted(group) for group in rest)
    assert rest != sorted(rest)


def test_nothing_is_left_behind_and_small_plans_touch_no_disk(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Spool(str(tmp_path)) as spool:
        spool.add(change(0))
        assert len(os.listdir("/proc/self/fd")) == before
        for number in range(5 * GROUP):
            spool.add(change(number))
        assert len(os.listdir("/proc/self/fd")) == before + 1

    assert len(os.listdir("/proc/self/fd")) == before
    assert list(tmp_path.iterdir()) == []
