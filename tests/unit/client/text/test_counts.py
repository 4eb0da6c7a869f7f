"""Numbers of things agree with their nouns and verbs."""

from __future__ import annotations

from icm_client.text.counts import counted, seconds


def test_nouns_and_verbs_agree_with_the_number() -> None:
    assert [counted(num, "row") for num in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert [counted(num, "pass") for num in (1, 2)] == ["1 pass", "2 passes"]
    assert [counted(num, "label is", "labels are") for num in (1, 3)] == ["1 label is", "3 labels are"]


def test_short_times_keep_their_digits() -> None:
    assert [seconds(value) for value in (0.0, 0.5, 0.99998, 12.3, 1800.0)] == ["0 s", "0.5 s", "1 s", "12 s", "1800 s"]
