"""All attacks. To add one: write a function of a `Target` that goes on for ever, and name it here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.attack import bodies, experiments, floods, gzip_bombs, headers, trees, wide_answers
from tests.attack.target import Target


class Attack(NamedTuple):
    """One, whose reason is its function's docstring."""

    run: Callable[[Target], Awaitable[None]]
    has_key: bool
    """Whether attackers need one: else nobody who has one may be hurt by more than half as much again."""
    is_together: bool = False
    """Whether it is one of those that are under way at the same time in `--all`."""
    shows_after_s: float = 0.0
    """How long it takes until it can do harm."""

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def why(self) -> str:
        return " ".join((self.run.__doc__ or "").split())


_ALL = [
    Attack(gzip_bombs.bombs_to_health, has_key=False, is_together=True, shows_after_s=1.5),
    Attack(gzip_bombs.bombs_without_key, has_key=False, is_together=True, shows_after_s=1.5),
    Attack(headers.half_headers, has_key=False, is_together=True, shows_after_s=3.0),
    Attack(headers.many_headers, has_key=False, is_together=True),
    Attack(headers.endless_header, has_key=False, is_together=True),
    Attack(headers.tiny_headers, has_key=False),
    Attack(headers.endless_path, has_key=False),
    Attack(bodies.slow_bodies_without_key, has_key=False),
    Attack(bodies.tiny_chunks_without_key, has_key=False),
    Attack(bodies.bodies_without_key, has_key=False),
    Attack(floods.wrong_keys, has_key=False),
    Attack(floods.unknown_paths, has_key=False),
    Attack(floods.connections, has_key=False),
    Attack(floods.pipelined, has_key=False),
    Attack(floods.web_sockets, has_key=False),
    Attack(gzip_bombs.bombs_with_key, has_key=True, is_together=True, shows_after_s=1.5),
    Attack(gzip_bombs.whole_bombs, has_key=True),
    Attack(bodies.slow_bodies, has_key=True),
    Attack(bodies.half_bodies, has_key=True),
    Attack(bodies.tiny_chunks, has_key=True),
    Attack(bodies.large_json, has_key=True),
    Attack(bodies.many_characters, has_key=True),
    Attack(bodies.long_texts, has_key=True),
    Attack(trees.merging_chain, has_key=True, is_together=True),
    Attack(trees.honest_chain, has_key=True),
    Attack(trees.joined_chain, has_key=True),
    Attack(trees.joined_prompts, has_key=True),
    Attack(experiments.fresh_names, has_key=True, is_together=True),
    Attack(experiments.many_requests, has_key=True, is_together=True),
    Attack(experiments.large_requests, has_key=True),
    Attack(wide_answers.wide_answers, has_key=True, is_together=True),
    Attack(wide_answers.widest_answers, has_key=True),
    Attack(wide_answers.widest_answers_packed, has_key=True),
    Attack(wide_answers.wide_streams, has_key=True, is_together=True),
    Attack(wide_answers.slow_readers, has_key=True),
    Attack(wide_answers.slow_readers_whole, has_key=True),
    Attack(wide_answers.no_readers, has_key=True),
    Attack(floods.small_requests, has_key=True),
    Attack(floods.cancelled, has_key=True),
    Attack(floods.kept_open, has_key=True, shows_after_s=1.5),
    Attack(floods.polls, has_key=True),
]
ATTACKS = {attack.name: attack for attack in _ALL}
TOGETHER = [attack.name for attack in _ALL if attack.is_together]
