"""Where a response ends."""

from __future__ import annotations

from icm_trainer.models.base_model import BaseModel
from icm_trainer.rl.policy import Policy


def test_a_response_ends_in_front_of_a_stop_text_of_special_tokens_and_plain_text(tiny: BaseModel) -> None:
    from transformers import AutoTokenizer

    policy = Policy(None, AutoTokenizer.from_pretrained(tiny.folder), (1,))

    def ids(text: str) -> list[int]:
        return list(policy.tokenizer.encode(text, add_special_tokens=False))

    prompt = tuple(ids("Words:"))
    for stop in ("\n", "<unk>", "\n<unk>", "<unk>\nWords:", "\n<unk>Words", "sun</s>"):
        found = policy.response(prompt, ids(f" hot<s> sun{stop} and more"), stop)
        assert found.text == " hot sun", stop
        assert policy.tokenizer.decode(found.ids).endswith(stop)
    assert policy.response(prompt, ids(" hot</s>\n"), "</s>\n").text == " hot"
