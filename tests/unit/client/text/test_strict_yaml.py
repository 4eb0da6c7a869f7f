"""YAML that people write: what it takes in silence elsewhere is one error here, in one line."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from icm_client.text.strict_yaml import MAX_CHARS, YAMLError, one_line, quoted, read_yaml

BOMB = "a: &a [x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("labels: {a: x, a: y}", "duplicate key 'a' (line 1)"),
        ("name: x\ntemplate: y\nname: z", "duplicate key 'name' (line 3)"),
        ('{"a": {"b": 1, "b": 2}}', "duplicate key 'b'"),
        ("yes: x\n'yes': y", "duplicate key 'yes'"),
        (BOMB, "aliases are not supported"),
        ("&a [*a]", "aliases are not supported"),
        ("<<: {a: b}", "<< is not supported"),
        ("[" * 3000, "nested more than"),
        ("[" * 3000 + "]" * 3000, "nested more than"),
        ('{"a":' * 3000, "nested more than"),
        ("- " * 3000 + "x", "nested more than"),
        ("a: 2020-99-99", "'2020-99-99' cannot be read"),
        ("a: 0x_", "'0x_' cannot be read"),
        ("a: " + "1" * 5000, "cannot be read"),
        ("a: !!int ''", "tags are not supported"),
        ("a: !!bool perhaps", "tags are not supported"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ('{"\\udc00": 1}', "half of a surrogate pair"),
        ("a: !!python/object/apply:os.system [x]", "tags are not supported"),
        ("a: [", "(line"),
        ("? [a]\n: b", "a key has to be text"),
        ("a: \x1b", "not allowed"),
        ("x" * (MAX_CHARS + 1), "characters"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    start = time.process_time()
    with pytest.raises(YAMLError) as raised:
        read_yaml(text)
    assert says in one_line(raised.value)
    assert "\n" not in one_line(raised.value)
    assert time.process_time() - start < 30  # a bomb is not unpacked


def test_names_stay_as_they_are_written() -> None:
    assert read_yaml("{yes: no, 1: on, 1.0: off, true: true, null: y, 2020-01-01: FALSE}") == {
        "yes": "no", "1": "on", "1.0": "off", "true": True, "null": "y", "2020-01-01": False,
    }  # fmt: skip


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_what_is_right_is_read_as_ever(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert read_yaml(text) == yaml.safe_load(text)


@given(st.dictionaries(st.text(st.characters(min_codepoint=0xA0, codec="utf-8")), st.text("\U0001f600é")))
def test_json_with_pairs_of_surrogates_is_read(value: dict[str, str]) -> None:
    assert read_yaml(json.dumps(value)) == value


@given(st.text("{}[]&*!?:-,#|>'\"%@`\\ \n\tab01~<=._"))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(YAMLError):
        read_yaml(text)


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_what_is_quoted_is_read_as_the_same_text_in_one_line(key: str, value: str) -> None:
    line = f"{quoted(key)}: {quoted(value)}"
    assert len(line.splitlines()) == 1
    assert read_yaml(line) == {key: value}
