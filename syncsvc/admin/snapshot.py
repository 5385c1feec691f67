"""Snapshots: the commits that were taken in."""

from django.contrib import admin
from django.utils.html import format_html, format_html_join

from syncsvc.admin.cells import link, moment, path_cell, size_cell
from syncsvc.admin.filters import AutocompleteFilter, when
from syncsvc.admin.history import HistoryAdmin
from syncsvc.models import Snapshot
from syncsvc.words import counted


@admin.register(Snapshot)
class SnapshotAdmin(HistoryAdmin):
    list_display = ("__str__", "repository_link", "files", "size", "difference", "left_out", "taken")
    list_filter = (("repository", AutocompleteFilter), when("taken_at"))
    list_select_related = ("repository",)
    search_fields = ("commit__startswith",)
    search_help_text = "The beginning of a commit."
    fields = readonly_fields = (
        "repository",
        "full_commit",
        "tree",
        "files",
        "size",
        "difference",
        "left_out",
        "unsafe",
        "previous",
        "taken",
    )

    @admin.display(description="repository")
    def repository_link(self, snapshot: Snapshot) -> str:
        return link(snapshot.repository)

    @admin.display(description="commit")
    def full_commit(self, snapshot: Snapshot) -> str:
        return format_html("<code>{}</code>", snapshot.commit)

    @admin.display(description="size")
    def size(self, snapshot: Snapshot) -> str:
        return size_cell(snapshot.bytes)

    @admin.display(description="difference")
    def difference(self, snapshot: Snapshot) -> str:
        if snapshot.created is None:
            return "the first"
        return f"{snapshot.created:,} created, {snapshot.updated or 0:,} updated, {snapshot.deleted or 0:,} deleted"

    @admin.display(description="left out")
    def left_out(self, snapshot: Snapshot) -> str:
        return snapshot.left_out_text or "nothing"

    @admin.display(description="unsafe paths")
    def unsafe(self, snapshot: Snapshot) -> str:
        """Paths that could lead a receiver out of its folder, or into git's own."""
        if snapshot.unsafe_paths is None:
            return "not counted: the commit was taken in by an older version"
        if not snapshot.unsafe_paths:
            return "none"
        what = "left out" if snapshot.unsafe_left_out else "sent; UNSAFE_PATHS=leave_out leaves them out"
        examples = format_html_join(", ", "{}", ((path_cell(path),) for path in snapshot.unsafe_examples))
        shown = format_html(": {}", examples) if examples else ""
        return format_html("{}, {}{}", counted(snapshot.unsafe_paths, "path"), what, shown)

    @admin.display(description="taken in", ordering="taken_at")
    def taken(self, snapshot: Snapshot) -> str:
        return moment(snapshot.taken_at)
