"""Options of an app's profile are read as its columns are."""

from argparse import ArgumentParser
from typing import Any

import pytest

from syncsvc.management.app_profile import add_profile, flag_of, profile_given, reader
from syncsvc.models import App
from syncsvc.operations.apps import PROFILE, PROFILE_NAMES


def test_each_column_has_an_option_and_what_is_left_out_is_not_given() -> None:
    parser = ArgumentParser()
    add_profile(parser)
    assert profile_given(vars(parser.parse_args([]))) == {}
    typed = [f"{flag_of(name)}=3" for name in PROFILE_NAMES]
    assert profile_given(vars(parser.parse_args(typed))) == dict.fromkeys(PROFILE_NAMES, 3)


def test_help_says_what_a_new_app_has() -> None:
    parser = ArgumentParser()
    add_profile(parser, with_defaults=True)
    shown = " ".join(parser.format_help().split())
    assert all(f"{column.help[1:].rstrip('.')} (default: " in shown for column in PROFILE)


@pytest.mark.parametrize(
    ("column", "typed", "value"),
    [
        ("max_batch", "7", 7),
        ("max_per_second", "7", 7),
        ("max_per_second", "none", None),
        ("timeout", "0.5", 0.5),
        ("timeout", "none", None),
    ],
)
def test_a_value_is_of_its_columns_type_and_none_where_it_may_be(column: str, typed: str, value: Any) -> None:
    assert reader(App._meta.get_field(column))(typed) == value


@pytest.mark.parametrize(
    ("column", "typed"), [("max_batch", "none"), ("max_batch", "0"), ("max_batch", "1.5"), ("timeout", "soon")]
)
def test_what_is_no_value_of_its_column_is_refused(column: str, typed: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what argparse takes for wrong usage
        reader(App._meta.get_field(column))(typed)
