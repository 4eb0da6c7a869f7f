"""The tokens that are learnt are those that a scorer reads."""

from __future__ import annotations

import pytest
from tests.tiny_models import EACH_STYLE, STYLES, of_transformers

from icm_annealer.data.task import Task
from icm_client.contract.errors import RequestError
from icm_client.contract.label_trie import LabelTrie
from icm_client.contract.wire import ScoreRequest
from icm_server.engines.hf_tokenizer import HfTokenizer
from icm_server.sharing.steps import finished
from icm_server.tokens.prefix_tokens import PrefixTokenizer
from icm_server.tokens.request_tree import read_tree
from icm_trainer.models.label_tokens import cut_to, prompts_of

TEXTS = ["Word: salmon\nGroup:", "Name: Ada <3 it's 2024\nGroup:", "größer, 東京!\nGroup:", "(\nGroup"]


def task(*labels: str, special_tokens: bool = False) -> Task:
    return Task(name="t", template="{a}", labels={text: text for text in labels}, special_tokens=special_tokens)


def of_style(style: str) -> HfTokenizer:
    return HfTokenizer(of_transformers(STYLES[style]()))


@pytest.mark.parametrize("style", EACH_STYLE)
def test_tokens_are_those_of_a_scorer(style: str) -> None:
    tokenizer = of_style(style)
    labels = (" living", " object", " the claim")
    asked = ScoreRequest(prompts=TEXTS, labels=list(labels))
    scored = finished(PrefixTokenizer(tokenizer).tokenize(finished(read_tree(asked)), None)).prompts
    prompts = prompts_of(TEXTS, task(*labels), tokenizer)
    for prompt, theirs in zip(prompts, scored, strict=True):
        assert list(prompt.ids) == list(theirs.path.ids())
        assert LabelTrie(prompt.labels).reads == theirs.trie.reads


def test_what_a_scorer_refuses_is_refused() -> None:
    tokenizer = of_style("llama3")
    with pytest.raises(RequestError, match="merges with the end of prompt 1"):
        prompts_of(["Group:", "Grou"], task("p", " a"), tokenizer)
    with pytest.raises(RequestError, match="' living' are the beginning of those of ' living the'"):
        prompts_of(["Group:"], task(" living", " living the"), tokenizer)


def test_a_cut_text_keeps_its_end() -> None:
    tokenizer = of_style("llama3")
    assert tokenizer.bos
    (whole,) = prompts_of(["Word: salmon, spider and hammer\nGroup:"], task(" living", " the claim"), tokenizer)
    assert cut_to(whole, whole.num_tokens, tokenizer.bos) == whole
    cut = cut_to(whole, 8, tokenizer.bos)
    assert cut.num_tokens == 8
    assert cut.labels == whole.labels
    assert [*cut.ids[:1]] == tokenizer.bos
    assert cut.ids[1:] == whole.ids[-len(cut.ids) + 1 :]
