"""How numbers, sizes and times read."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from django.apps import apps

from syncsvc import words
from syncsvc.templatetags.console import sentence

PACKAGE = Path(__file__).resolve().parent.parent / "syncsvc"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (31_000_000, "31 MB"),
        (2_400_000_000, "2.4 GB"),
        (1_234_000_000_000, "1,234 GB"),
    ],
)
def test_sizes_are_decimal_with_two_figures_at_least(size: int, text: str) -> None:
    assert words.size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45, "45 s"), (60, "1 min"), (90, "90 s"), (3_600, "1 h"), (5_400, "90 min"), (86_400, "1 d")],
)
def test_an_exact_span_is_in_the_largest_unit_that_leaves_no_rest(seconds: int, text: str) -> None:
    assert words.exact_span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (40, "40 s"), (119, "119 s"), (120, "2 min"), (3_600, "60 min"), (7_200, "2 h"), (200_000, "2 d")],
)
def test_a_span_is_in_the_largest_unit_that_there_are_two_of(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(), "now"),
        (timedelta(milliseconds=-900), "now"),
        (timedelta(seconds=-59), "59 s ago"),
        (timedelta(seconds=-119), "1 min ago"),
        (timedelta(hours=23, minutes=59), "in 23 h"),
        (timedelta(days=-400), "400 d ago"),
    ],
)
def test_a_moment_is_as_far_away_as_its_largest_unit_says(distance: timedelta, text: str) -> None:
    assert words.relative(distance) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0, ""), (0.3, "about 1 s left"), (180, "about 3 min left")])
def test_how_much_is_left_is_said_where_it_is_known(seconds: float | None, text: str) -> None:
    assert words.left(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (0, "file", "0 files"),
        (1, "file", "1 file"),
        (4_512, "file", "4,512 files"),
        (2, "repository", "2 repositories"),
        (2, "delay", "2 delays"),
        (1, "failed notification", "1 failed notification"),
        (3, "try", "3 tries"),
    ],
)
def test_a_noun_agrees_with_its_number(number: int, noun: str, text: str) -> None:
    assert words.counted(number, noun) == text


def test_the_rule_makes_the_plural_that_each_model_has() -> None:
    ours = apps.get_app_config("syncsvc").get_models()
    assert all(words.plural(2, str(m._meta.verbose_name)) == str(m._meta.verbose_name_plural) for m in ours)


@pytest.mark.parametrize(
    ("a_second", "text"),
    [(0, "0 files a second"), (0.4, "0.4 files a second"), (1, "1 file a second"), (96.3, "96 files a second")],
)
def test_a_pace_is_said_with_its_noun(a_second: float, text: str) -> None:
    assert words.pace_text(a_second, "file") == text


def test_counts_of_nothing_are_left_out() -> None:
    assert words.listed([(1_003, "created"), (0, "updated"), (1, "deleted")]) == "1,003 created, 1 deleted"
    assert words.listed([(0, "created")]) == ""
    assert words.listed([(0, "created")], nothing="none") == "none"


def test_a_reason_ends_with_a_full_stop_before_another_sentence() -> None:
    assert sentence("Moving house") == sentence("Moving house.") == "Moving house."


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (datetime(2026, 11, 25, 10, 2, 31, tzinfo=UTC), "10:02:31 UTC"),
        (datetime(2026, 11, 25, 23, 59, 59, 999_999, tzinfo=UTC), "23:59:59 UTC"),
        (datetime(2026, 11, 26, 0, 0, tzinfo=UTC), "2026-11-26 00:00:00 UTC"),
        (datetime(2026, 11, 26, 1, 0, tzinfo=timezone(timedelta(hours=2))), "23:00:00 UTC"),
    ],
)
def test_an_end_has_its_date_where_that_is_another_day(at: datetime, text: str) -> None:
    assert words.clock(at, now=datetime(2026, 11, 25, 10, 0, tzinfo=UTC)) == text


@pytest.mark.parametrize("other", ["filesizeformat", "timesince", '"kB"', "'s' if", '"s" if', "'' if number"])
def test_no_module_has_words_of_its_own(other: str) -> None:
    sources = {file.name: file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")}
    assert [name for name, source in sources.items() if other in source and name != "words.py"] == []
