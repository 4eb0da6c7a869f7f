"""Pairs of one text of each of two kinds: blog posts by a man and a woman, poems with and without the word "sun"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from icm_annealer.builders.built import Built, field_of, generator, text_of
from icm_annealer.builders.pairs import opposed
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError

SUN = re.compile(r"\bsun\b", re.IGNORECASE)


def gender_pairs(rows: Iterable[Row], seed: int, num_pairs: int, min_chars: int, max_chars: int) -> Built:
    """Pairs of a man's and a woman's post from the Blog Authorship Corpus (fields `gender`, `text`, and `id`, which
    names the author), with at most one post per author, and white space collapsed.

    An author's post is drawn from those of `min_chars` to `max_chars`. Raises RequestError naming a broken row.
    """
    chosen: dict[str, tuple[str, str]] = {}
    seen: dict[str, int] = {}
    rng = generator(seed)
    for number, row in enumerate(rows):
        gender = str(field_of(row, "gender")).strip().lower()
        if gender not in ("male", "female"):
            raise RequestError(f"{row.where}: gender is {gender!r}, neither male nor female", code="bad_data")
        value = row.value.get("text")
        text = " ".join(value.split()) if isinstance(value, str) else ""
        if not min_chars <= len(text) <= max_chars:
            continue
        author = f"row {number}" if row.value.get("id") is None else str(row.value["id"])
        seen[author] = seen.get(author, 0) + 1
        if rng.integers(seen[author]) == 0:  # reservoir sampling: all posts of an author are equally likely
            chosen[author] = (gender, text)
    texts = [[text for kind, text in chosen.values() if kind == gender] for gender in ("male", "female")]
    found = f"{len(texts[0])} men's and {len(texts[1])} women's posts of {min_chars} to {max_chars} characters found"
    return Built(opposed("gender", texts[0], texts[1], num_pairs, rng), [found])


def sun_pairs(rows: Iterable[Row], seed: int, num_pairs: int) -> Built:
    """Pairs of poems (field `poem` or `text`), one with the word "sun" and one without; gold prefers the first."""
    poems = list(dict.fromkeys(text_of(row, "poem", "text") for row in rows))
    sunny = [poem for poem in poems if SUN.search(poem)]
    others = [poem for poem in poems if not SUN.search(poem)]
    found = f'{len(sunny)} poems with the word "sun" and {len(others)} without found'
    return Built(opposed("poems", sunny, others, num_pairs, generator(seed)), [found])
