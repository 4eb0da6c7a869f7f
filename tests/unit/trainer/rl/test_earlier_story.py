"""The models of an assistant go with its labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm_annealer.runs.directory import JOURNAL
from icm_trainer.rl.earlier_story import replacing
from icm_trainer.rl.story import JUDGE, LABELS, branches
from icm_trainer.sft.record import TRAINING


@pytest.mark.parametrize("are_replaced", [False, True])
def test_models_of_labels_that_were_replaced_are_removed(tmp_path: Path, are_replaced: bool) -> None:
    journal = tmp_path / LABELS / JOURNAL
    models = [tmp_path / name / TRAINING for name in ("reward", "reward-gold", "policy", "policy-gold", JUDGE)]
    for file in (journal, *models):
        file.parent.mkdir()
        file.write_text("earlier")

    def failed() -> None:
        with replacing(tmp_path, list(branches(None, has_gold=True))):
            if are_replaced:
                journal.unlink()
                journal.write_text("later")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failed()
    assert [file.exists() for file in models] == [not are_replaced] * len(models)
