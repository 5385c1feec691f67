"""How sizes and durations read."""

import pytest

from syncsvc.admin.cells import size_text
from syncsvc.templatetags.console import duration, sentence


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
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (60, "1 min"), (90, "90 s"), (3_600, "1 h"), (86_400, "1 d")]
)
def test_a_duration_is_in_the_largest_unit_that_leaves_no_rest(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_a_reason_ends_with_a_full_stop_before_another_sentence() -> None:
    assert sentence("Moving house") == sentence("Moving house.") == "Moving house."
