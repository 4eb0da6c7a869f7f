"""What is held of whole answers is bounded, and shared by key."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from icm_client.contract.errors import BusyError
from icm_server.auth.tenant import Tenant
from icm_server.scheduling.whole_answer import WholeAnswers

ALICE, BOB = Tenant(name="alice"), Tenant(name="bob")


def test_one_key_leaves_room_for_the_others_answers() -> None:
    answers = WholeAnswers(max_held_values=1000)
    with ExitStack() as held:
        for _ in range(5):
            held.enter_context(answers.held(100, ALICE))
        with pytest.raises(BusyError):
            held.enter_context(answers.held(100, ALICE))
        held.enter_context(answers.held(200, BOB))
    with answers.held(500, ALICE):
        pass
