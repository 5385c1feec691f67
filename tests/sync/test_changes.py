"""The difference between ledger and manifest, for any of both, and over any history of lost answers."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import assume, given
from hypothesis import strategies as st

from syncsvc.sync.changes import from_ledger, from_trees
from syncsvc.sync.selection import MAX_PATH_BYTES, Selection
from syncsvc.types import SUBMODULE_MODE, Change, ChangeKind, LedgerRow, ManifestEntry, TreeChange

EPOCH = 3
EVERYTHING = Selection()
SIZES = {"aa": 1, "bb": 20, "cc": 300}
FILE_MODES = ("100644", "100755", "120000")
ODD_PATHS = [
    *(b"a", b"a.b", b"a/b", b"a0", b"a/b/c", b"a\xff", b"\xff", b"\xc3\xa9", b"%FF", b"\n", b"-", b'"', b"A"),
    *(b"x" * MAX_PATH_BYTES, b"x" * (MAX_PATH_BYTES + 1), b"x/" * 1_400 + b"y"),
    *(b"..", b".git/config", b"a/GIT~1"),
]

type Version = tuple[str, str]  # mode and blob
type Files = dict[bytes, Version]

paths = st.one_of(st.sampled_from(ODD_PATHS), st.binary(min_size=1, max_size=3).filter(lambda path: b"\0" not in path))
blobs = st.sampled_from(sorted(SIZES))
versions = st.tuples(st.sampled_from(FILE_MODES), blobs)
trees = st.dictionaries(paths, st.tuples(st.sampled_from((*FILE_MODES, SUBMODULE_MODE)), blobs), max_size=12)
ids = st.uuids().map(str)


@st.composite
def ledger_rows(draw: st.DrawFn, path: bytes) -> LedgerRow:
    """Any row that a ledger could have: acknowledged in this epoch, forgotten, never acknowledged; in doubt or not."""
    acknowledged = draw(st.none() | versions)
    mode, blob = acknowledged or (None, None)
    epoch = draw(st.integers(1, EPOCH)) if acknowledged else 0
    if acknowledged and draw(st.booleans()):
        return LedgerRow(path, mode, blob, epoch, None, None, None, None, None)
    doubt_mode, doubt_blob = draw(st.none() | versions) or (None, None)
    previous = draw(blobs) if doubt_blob is None else blob
    doubt_epoch = draw(st.integers(max(epoch, 1), EPOCH))
    return LedgerRow(path, mode, blob, epoch, draw(ids), doubt_mode, doubt_blob, previous, doubt_epoch)


@st.composite
def ledgers(draw: st.DrawFn, tree: Mapping[bytes, Version]) -> list[LedgerRow]:
    """Rows for some of the tree's paths, and for others."""
    known = draw(st.sets(st.sampled_from(sorted(tree)) | paths if tree else paths, max_size=12))
    return [draw(ledger_rows(path)) for path in sorted(known) if len(path) <= MAX_PATH_BYTES]


@st.composite
def situations(draw: st.DrawFn) -> tuple[Files, list[LedgerRow]]:
    tree = draw(trees)
    return tree, draw(ledgers(tree))


def manifest(tree: Mapping[bytes, Version]) -> list[ManifestEntry]:
    return [ManifestEntry(path, mode, blob, SIZES[blob]) for path, (mode, blob) in sorted(tree.items())]


def files_of(tree: Mapping[bytes, Version], selection: Selection = EVERYTHING) -> Files:
    return {path: v for path, v in tree.items() if selection.takes(path, v[0], SIZES[v[1]])}


def possible_states(row: LedgerRow) -> list[Version | None]:
    """What the app may have; None is nothing. A forgotten version may be lost as well."""
    acknowledged = (row.mode, row.blob) if row.mode and row.blob else None
    states: list[Version | None] = [acknowledged]
    if row.epoch != EPOCH:
        states.append(None)
    if row.doubt_id is not None:
        states.append((row.doubt_mode, row.doubt_blob) if row.doubt_mode and row.doubt_blob else None)
    return states


def after(change: Change | None, before: Version | None) -> Version | None:
    if change is None:
        return before
    return (change.mode, change.blob) if change.mode and change.blob else None


@given(situations())
def test_whatever_the_app_may_have_it_has_the_manifest_afterwards(situation: tuple[Files, list[LedgerRow]]) -> None:
    tree, rows = situation
    changes = list(from_ledger(manifest(tree), rows, epoch=EPOCH, selection=EVERYTHING))

    told = {change.path: change for change in changes}
    assert [change.path for change in changes] == sorted(told), "once a path, in git's order"
    ledger, files = {row.path: row for row in rows}, files_of(tree)
    for path in {*ledger, *files, *told}:
        for state in possible_states(ledger[path]) if path in ledger else [None]:
            assert after(told.get(path), state) == files.get(path)


@given(situations())
def test_a_path_that_is_certainly_right_is_not_sent_and_every_other_is(
    situation: tuple[Files, list[LedgerRow]],
) -> None:
    tree, rows = situation
    told = {change.path for change in from_ledger(manifest(tree), rows, epoch=EPOCH, selection=EVERYTHING)}

    files = files_of(tree)
    right = {row.path for row in rows if possible_states(row) == [files.get(row.path)]}
    assert told == (files.keys() | {row.path for row in rows}) - right


@given(situations())
def test_an_id_is_used_again_exactly_where_epoch_mode_and_blob_are_the_mark_s(
    situation: tuple[Files, list[LedgerRow]],
) -> None:
    tree, rows = situation
    ledger = {row.path: row for row in rows}
    for change in from_ledger(manifest(tree), rows, epoch=EPOCH, selection=EVERYTHING):
        row = ledger.get(change.path)
        same = (
            row is not None
            and row.doubt_id is not None
            and (row.doubt_epoch, row.doubt_mode, row.doubt_blob) == (EPOCH, change.mode, change.blob)
        )
        assert change.id == (row.doubt_id if row is not None and same else None)


@given(situations())
def test_what_a_change_says_of_before_is_what_was_acknowledged(situation: tuple[Files, list[LedgerRow]]) -> None:
    tree, rows = situation
    ledger = {row.path: row for row in rows}
    for change in from_ledger(manifest(tree), rows, epoch=EPOCH, selection=EVERYTHING):
        row = ledger.get(change.path)
        match change.kind:
            case ChangeKind.CREATED:
                assert change.previous_blob is None
                assert row is None or row.blob is None or row.epoch != EPOCH
            case ChangeKind.UPDATED:
                assert row is not None
                assert (change.previous_blob, row.epoch) == (row.blob, EPOCH)
            case ChangeKind.DELETED:
                assert change.previous_blob is not None
                assert (change.mode, change.blob, change.size) == (None, None, 0)
        if change.blob is not None:
            assert change.size == SIZES[change.blob]


selections = st.builds(Selection, st.sampled_from((None, 1, 20, 299)), st.booleans())


@given(trees, trees, selections)
def test_trees_and_a_clean_ledger_give_the_same_changes(old: Files, new: Files, selection: Selection) -> None:
    ledger = [
        LedgerRow(path, mode, blob, EPOCH, None, None, None, None, None)
        for path, (mode, blob) in sorted(files_of(old, selection).items())
    ]
    nothing = (None, None)

    def size(tree: Files, path: bytes) -> int:
        return SIZES[tree[path][1]] if path in tree else 0

    differences = [
        (TreeChange(path, *old.get(path, nothing), *new.get(path, nothing)), size(old, path), size(new, path))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]

    changes = list(from_trees(differences, selection=selection))
    assert changes == list(from_ledger(manifest(new), ledger, epoch=EPOCH, selection=selection))
    told = {change.path: after(change, None) for change in changes}
    assert {path: version for path, version in (files_of(old, selection) | told).items() if version} == files_of(
        new, selection
    )


@dataclass
class App:
    """A client that drops repeats by id, and the ledger that is kept of it, row by row as the SQL keeps it."""

    epoch: int = 1
    files: Files = field(default_factory=dict)
    ledger: dict[bytes, LedgerRow] = field(default_factory=dict)
    seen: dict[str, Change] = field(default_factory=dict)

    def plan(self, tree: Files) -> list[Change]:
        rows = [self.ledger[path] for path in sorted(self.ledger)]
        changes = from_ledger(manifest(tree), rows, epoch=self.epoch, selection=EVERYTHING)
        return [change if change.id else change._replace(id=str(uuid.uuid4())) for change in changes]

    def mark(self, change: Change) -> None:
        row = self.ledger.get(change.path) or LedgerRow(change.path, None, None, 0, None, None, None, None, None)
        self.ledger[change.path] = row._replace(
            doubt_id=change.id,
            doubt_mode=change.mode,
            doubt_blob=change.blob,
            doubt_previous=change.previous_blob,
            doubt_epoch=self.epoch,
        )

    def take(self, change: Change) -> None:
        assert change.id is not None
        if before := self.seen.get(change.id):
            assert change == before, "a repeat with the same id says the same"
            return
        self.seen[change.id] = change
        if change.mode and change.blob:
            self.files[change.path] = (change.mode, change.blob)
        else:
            self.files.pop(change.path, None)

    def acknowledge(self, change: Change) -> None:
        if change.kind is ChangeKind.DELETED:
            del self.ledger[change.path]
        else:
            row = (change.path, change.mode, change.blob, self.epoch)
            self.ledger[change.path] = LedgerRow(*row, None, None, None, None, None)


OUTCOMES = ("not marked", "marked", "taken", "acknowledged")
few_paths = st.sampled_from([b"a", b"a.b", b"a/b", b"\xff"])
few_trees = st.dictionaries(few_paths, st.tuples(st.sampled_from((*FILE_MODES, SUBMODULE_MODE)), blobs))
runs = st.tuples(few_trees, st.booleans(), st.lists(st.sampled_from(OUTCOMES), min_size=4, max_size=4))


@given(st.lists(runs, min_size=2, max_size=8))
def test_after_any_history_one_run_that_is_answered_makes_the_app_equal(
    history: list[tuple[Files, bool, list[str]]],
) -> None:
    app = App()
    tree: Files = {}
    for tree, forgets, outcomes in history:
        app.epoch += forgets
        for change, outcome in zip(app.plan(tree), outcomes, strict=False):
            if outcome != "not marked":
                app.mark(change)
            if outcome in {"taken", "acknowledged"}:
                app.take(change)
            if outcome == "acknowledged":
                app.acknowledge(change)
    for change in app.plan(tree):
        assert change.kind is not ChangeKind.DELETED or change.previous_blob is not None
        app.mark(change)
        app.take(change)
        app.acknowledge(change)

    assert app.files == files_of(tree)
    assert {path: (row.mode, row.blob) for path, row in app.ledger.items()} == files_of(tree)
    assert app.plan(tree) == []


@given(few_trees, few_trees)
def test_a_forgotten_file_that_is_gone_is_deleted_and_one_that_is_there_is_created(old: Files, new: Files) -> None:
    assume(files_of(old))
    app = App()
    for change in app.plan(old):
        app.mark(change)
        app.acknowledge(change)
    app.epoch += 1

    kinds = {change.path: change.kind for change in app.plan(new)}

    assert kinds == {
        path: ChangeKind.CREATED if path in files_of(new) else ChangeKind.DELETED
        for path in files_of(old).keys() | files_of(new).keys()
    }
