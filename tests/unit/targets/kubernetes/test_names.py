"""Names and labels: valid for any input, and different for different inputs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolt_watch.targets.kubernetes.names import (
    is_job_name,
    is_label,
    job_name,
    job_of,
    label,
    token_in,
)

LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def test_a_token_of_dolt_watch_is_readable_in_the_name() -> None:
    assert (
        job_name("0123456789abcdef0123456789abcdef")
        == "dolt-watch-0123456789abcdef0123456789abcdef"
    )


def test_a_run_is_named_by_its_job_or_by_its_token() -> None:
    token = "0123456789abcdef" * 2
    assert job_of(token) == job_of(job_name(token)) == job_name(token)


@pytest.mark.parametrize("bead", ["bd-1", "my_project-a3f8.1", "BD-1", "x" * 63])
def test_a_bead_id_that_fits_is_its_own_label(bead: str) -> None:
    assert label(bead) == bead


@given(st.text())
def test_every_label_is_valid(text: str) -> None:
    found = label(text)
    assert len(found) <= 63 and LABEL.fullmatch(found)
    assert bool(found) == bool(text)
    assert found == "" or is_label(found)


@given(st.text(min_size=1))
def test_every_name_is_valid(token: str) -> None:
    found = job_name(token)
    assert is_job_name(found) and len(found) <= 63


@given(st.text(min_size=1))
def test_a_token_of_dolt_watch_is_found_in_its_name(token: str) -> None:
    assert token_in(job_name(token)) in (token, "")
    assert token_in(job_name("0123456789abcdef" * 2)) == "0123456789abcdef" * 2
    assert token_in("dolt-watch") == token_in(token[:3]) == ""


@given(st.text(), st.text())
def test_two_tokens_never_share_a_name_nor_two_beads_a_label(one: str, two: str) -> None:
    assert (job_name(one) == job_name(two)) == (one == two)
    assert (label(one) == label(two)) == (one == two)


@pytest.mark.parametrize(
    ("one", "two"), [("a b", "a-b"), ("a/b", "a:b"), ("x" * 64, "x" * 65), ("ü", "ö")]
)
def test_labels_that_are_shortened_alike_differ(one: str, two: str) -> None:
    assert label(one) != label(two)
