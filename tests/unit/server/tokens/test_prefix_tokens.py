"""Tokens along a prefix tree are those of the joined texts, whatever the tokenizer."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tiny_models import EACH_STYLE, STYLES, of_transformers
from tokenizers import Tokenizer

from icm_client.contract.errors import RequestError, TooLargeError
from icm_client.contract.wire import ScoreRequest
from icm_server.engines import base
from icm_server.engines.base import BATCH_CHARS, Encoded
from icm_server.engines.fake import FakeTokenizer
from icm_server.engines.hf_tokenizer import HfTokenizer
from icm_server.sharing.steps import finished
from icm_server.tokens.prefix_tokens import PrefixTokenizer, Tokenized
from icm_server.tokens.request_tree import read_tree

SHOTS = ["\n\nWord: salmon\nGroup: living", "\n\nWord: hammer\nGroup:", " living", " object"]
SPACES = ["\n", "\n\n", " ", "  ", "\r\n"]
PIECES = ["<", "s", ">", "</", "<s>", "'", "'r", "e", "12", "3", "4567", "é", "e\u0301", "\u0301", "東", ".", ":"]
SEGMENTS = st.one_of(st.sampled_from([*SHOTS, *SPACES, *PIECES]), st.text(alphabet="ab '\n1\u0301<s>/", max_size=6))


@functools.cache
def trained(style: str) -> Tokenizer:
    return STYLES[style]()


@functools.cache
def tokenizer(style: str) -> HfTokenizer:
    return HfTokenizer(of_transformers(trained(style)))


def tokenize(style: str, **request: object) -> Tokenized:
    asked = ScoreRequest.model_validate(request)
    real = tokenizer(style).with_special_tokens() if asked.special_tokens else tokenizer(style)
    return tokenized(PrefixTokenizer(real), asked)


def tokenized(tokenizer: PrefixTokenizer, asked: ScoreRequest) -> Tokenized:
    return finished(tokenizer.tokenize(finished(read_tree(asked)), asked.terminator))


@pytest.mark.parametrize("special", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "special"])
@pytest.mark.parametrize("style", EACH_STYLE)
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_tokens_are_those_of_the_joined_text(style: str, special: bool, data: st.DataObject) -> None:
    segments = data.draw(st.lists(SEGMENTS, min_size=1, max_size=8))
    labels = data.draw(
        st.sampled_from([[" living", " object"], ["a", "1", " <s>"], ["\u0301", "ing"], ["\n", "'s", ">"]])
    )
    numbers = st.lists(st.integers(0, len(segments) - 1), max_size=4)
    prefixes: list[list[int | None]] = []
    for k in range(data.draw(st.integers(0, 4))):
        parent = data.draw(st.one_of(st.none(), st.integers(0, k - 1)) if k else st.none())
        prefixes.append([parent, *data.draw(numbers)])
    parent = data.draw(st.one_of(st.none(), st.integers(0, len(prefixes) - 1)) if prefixes else st.none())
    prompt = [parent, *data.draw(numbers)]
    *begun, text = joined_texts(segments, [*prefixes, prompt])
    request = {"segments": segments, "prefixes": prefixes, "prompts": [prompt], "labels": labels}
    try:
        (found,) = tokenize(style, **request, special_tokens=special).prompts
    except RequestError as refusal:
        code = refusal.code
    else:
        code = ""
    expected, joined = oracle(style, text, special), [oracle(style, text + label, special) for label in labels]
    behind = [tuple(ids[len(expected) :]) for ids in joined]
    bos = tokenizer(style).bos
    if bos and oracle(style, text, special)[:1] == bos:
        assert code == "begins_with_bos"
    elif code == "begins_with_bos":  # a prefix that the prompt does not continue
        assert any(bos and oracle(style, each, special)[:1] == bos for each in begun)
    elif not expected:
        assert code == "empty_prompt"
    elif code == "special_token":
        assert not special
        assert style == "metaspace"  # its vocabulary holds them among all other tokens
        assert any("<s>" in each + label for each in [*begun, text] for label in labels)
    elif any(ids[: len(expected)] != expected for ids in joined) or () in behind:
        assert code == "label_merges"
    elif len(set(behind)) < len(behind):
        assert code == "duplicate_label"
    elif any(one != other and one == other[: len(one)] for one in behind for other in behind):
        assert code == "ambiguous_labels"
    else:
        assert code == ""
        assert found.path.ids().tolist() == bos + expected
        for label in behind:
            assert any(read.path == label[:-1] and label[-1] in read.ids for read in found.trie.reads)


def joined_texts(segments: list[str], rows: list[list[int | None]]) -> list[str]:
    """Each row's whole text."""
    texts: list[str] = []
    for parent, *added in rows:
        before = texts[parent] if parent is not None else ""
        texts.append(before + "".join(segments[k] for k in added if k is not None))
    return texts


def oracle(style: str, text: str, special: bool) -> list[int]:
    """The whole text's tokens, by transformers."""
    real = slow_tokenizer(style, special)
    ids: list[int] = real(text, add_special_tokens=False)["input_ids"]
    return ids


@functools.cache
def slow_tokenizer(style: str, special: bool) -> Any:
    return of_transformers(trained(style), split_special_tokens=not special)


@pytest.mark.parametrize(("style", "is_joined"), [("gpt2", 0), ("llama3", 0), ("metaspace", 0), ("llama2", 1)])
def test_shots_take_the_fast_path(style: str, is_joined: int) -> None:
    shots = [f"\n\nWord: {word}\nGroup: living" for word in ("salmon", "hammer", "spider")]
    if style == "metaspace":
        shots = [" " + shot.strip() for shot in shots]  # its words are what stands between spaces
    found = tokenize(
        style,
        segments=[*shots, shots[0].rpartition(" ")[0]],
        prefixes=[[None, 0, 1], [0, 2]],
        prompts=[[0, 3], [1, 3]],
        labels=[" living", " object"],
    )
    assert (found.joined_texts > 0) == bool(is_joined)


def test_a_separator_at_the_end_of_a_shot_is_not_safe() -> None:
    found = tokenize("gpt2", segments=["Word: a\n\n", "Word:"], prompts=[[None, 0, 1]], labels=[" living"])
    assert found.joined_texts > 0
    assert found.prompts[0].path.ids().tolist() == tokenizer("gpt2").encode_many(["Word: a\n\nWord:"])[0].ids


def test_a_special_token_put_together_by_three_texts_is_seen() -> None:
    found = tokenize(
        "gpt2",
        segments=["<", "s", ">", " Word:"],
        prompts=[[None, 0, 1, 2, 3]],
        labels=[" living"],
        special_tokens=True,
    )
    assert found.prompts[0].path.ids()[0] == 0


def test_what_is_remembered_changes_nothing() -> None:
    one = PrefixTokenizer(tokenizer("gpt2"), max_remembered_chars=250)
    request = ScoreRequest(
        segments=[f"\n\nWord: {k}" for k in range(20)],
        prompts=[[None, k, (7 * k) % 20, 3] for k in range(20)],
        labels=[" living", " object"],
    )
    first = tokenized(one, request)
    again = tokenized(one, request)
    assert [p.path.ids() for p in first.prompts] == [p.path.ids() for p in again.prompts]
    assert [p.path.ids() for p in first.prompts] == [
        p.path.ids() for p in tokenize("gpt2", **request.model_dump()).prompts
    ]


def test_joined_texts_are_tokenized_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small body may name a long text in each of its prompts."""
    sizes: list[int] = []

    class Sizes(HfTokenizer):
        def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
            sizes.append(sum(map(len, texts)))
            return super().encode_many(texts)

    monkeypatch.setattr(base, "BATCH_CHARS", 2000)
    counting = Sizes(of_transformers(trained("llama2")))
    asked = ScoreRequest(
        segments=["Word: salmon " * 50, "Group:"],
        prefixes=[[None, 0]],
        prompts=[[0, *[1] * k] for k in range(1, 20)],
        labels=[" living", " object"],
    )
    found = tokenized(PrefixTokenizer(counting), asked)
    assert found.joined_texts == 3 * 19
    assert max(sizes) <= 2000


def error(style: str, **request: object) -> RequestError:
    with pytest.raises(RequestError) as raised:
        tokenize(style, **request)
    return raised.value


def test_a_label_that_merges_is_named_with_its_prompt() -> None:
    found = error("gpt2", prompts=["Word: salmon", "Word: "], labels=["living", "object"])
    assert found.code == "label_merges"
    assert "'living'" in found.message
    found = error("gpt2", prompts=["Group:", "Group: "], labels=["living"])
    assert "prompt 1" in found.message


def test_labels_that_begin_each_other_need_a_terminator() -> None:
    labels = [" living", " living object"]
    found = error("gpt2", prompts=["Group:"], labels=labels)
    assert found.code == "ambiguous_labels"
    assert "' living'" in found.message
    assert "' living object'" in found.message
    with_end = tokenize("gpt2", prompts=["Group:"], labels=labels, terminator="\n\n")
    end = tokenizer("gpt2").encode_many(["\n\n"])[0].ids[0]
    assert sum(end in read.ids for read in with_end.prompts[0].trie.reads) == 2


def test_without_ambiguity_the_terminator_is_only_checked() -> None:
    plain = tokenize("gpt2", prompts=["Group:"], labels=[" living", " object"])
    ended = tokenize("gpt2", prompts=["Group:"], labels=[" living", " object"], terminator="\n\n")
    assert plain.prompts[0].trie.reads == ended.prompts[0].trie.reads


def test_the_terminator_is_cut_as_contexts_show_it() -> None:
    # Alone "\n\n" may be one token; in front of a word GPT-2's splitting makes two of it.
    labels = [" living", " living object"]
    shot = "\n\nWord: salmon\nGroup: living"
    found = tokenize(
        "gpt2", segments=[shot, "\n\nWord: cup\nGroup:"], prompts=[[None, 0, 1]], labels=labels, terminator="\n\n"
    )
    shown = tokenizer("gpt2").encode_many([shot])[0].ids[0]
    assert any(shown in read.ids for read in found.prompts[0].trie.reads)


def test_a_label_that_merges_with_the_terminator_is_refused() -> None:
    found = error("gpt2", prompts=["Group:"], labels=[" 12", " object"], terminator="3 and more")
    assert found.code == "label_merges"
    assert "'3 and more'" in found.message


def test_labels_with_the_same_tokens_are_refused() -> None:
    found = error("wordpiece", prompts=["Group:"], labels=[" Living", " living"])
    assert found.code == "duplicate_label"
    assert "' Living'" in found.message


def test_aliases_are_sequences_of_one_label() -> None:
    found = tokenize("gpt2", prompts=["Group:"], labels=[[" living", " male"], [" object"]])
    assert len(found.prompts) == 1


def test_prompts_share_tries_and_the_fake_tokenizer_is_safe_between_words() -> None:
    request = ScoreRequest(
        segments=["Word: a\nGroup: x", "\n\nWord: b\nGroup:"], prompts=[[None, 0, 1], [None, 1]], labels=[" x", " y"]
    )
    found = tokenized(PrefixTokenizer(FakeTokenizer()), request)
    assert found.joined_texts == 0
    assert found.prompts[0].trie is found.prompts[1].trie


class Counting(HfTokenizer):
    """Counts the characters that it tokenizes."""

    def __init__(self, style: str):
        super().__init__(of_transformers(trained(style)))
        self.num_chars = 0

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        self.num_chars += sum(map(len, texts))
        return super().encode_many(texts)

    def count_many(self, texts: Sequence[str]) -> list[int]:
        self.num_chars += sum(map(len, texts))
        return super().count_many(texts)


def chain(text: str, length: int, labels: list[str]) -> ScoreRequest:
    """A prompt at every place of a chain of one text: a small body, of as many characters as the length squared."""
    prefixes: list[list[int | None]] = [[None, 0], *([k, 0] for k in range(length - 1))]
    return ScoreRequest(segments=[text], prefixes=prefixes, prompts=[[k] for k in range(length)], labels=labels)


@pytest.mark.parametrize("labels", [[" a", " b"], ["a", "b"]], ids=["another word", "the same word"])
def test_labels_are_tokenized_once_for_all_prompts_that_end_alike(labels: list[str]) -> None:
    """However long the prompts are, and as behind the whole of them."""
    counts = []
    for length in (100, 1000):
        counting = Counting("gpt2")
        found = tokenized(PrefixTokenizer(counting), chain(" w", length, labels))
        ids = oracle("gpt2", " w" * length, special=False)
        assert found.prompts[-1].path.ids().tolist() == ids
        behind = {oracle("gpt2", " w" * length + label, special=False)[len(ids)] for label in labels}
        assert behind == set(found.prompts[-1].trie.reads[0].ids)
        counts.append(counting.num_chars)
    assert counts[0] == counts[1] < 1000


def test_a_label_that_merges_is_found_behind_the_first_end() -> None:
    counting = Counting("gpt2")
    with pytest.raises(RequestError, match="prompt 0") as raised:
        tokenized(PrefixTokenizer(counting), chain("\n\nGroup: ", 1000, ["living", "object"]))
    assert raised.value.code == "label_merges"
    assert counting.num_chars < 1000


def test_a_label_that_merges_is_found_behind_the_first_joined_text() -> None:
    counting = Counting("llama2")
    with pytest.raises(RequestError, match="prompt 0") as raised:
        tokenized(PrefixTokenizer(counting), chain("Word: salmon ", 400, ["living", "object"]))
    assert raised.value.code == "label_merges"
    assert counting.num_chars < 2 * BATCH_CHARS  # of three million


def test_too_many_joined_characters_are_refused_before_they_are_put_together() -> None:
    counting = Counting("llama2")
    with pytest.raises(TooLargeError, match="fewer prompts") as raised:
        tokenized(PrefixTokenizer(counting), chain("Word: salmon", 5000, [" living", " object"]))
    assert raised.value.code == "request_too_large"
    assert counting.num_chars < 10_000


@pytest.mark.slow
def test_a_pass_of_512_long_examples_is_taken_without_safe_boundaries_in_few_parts() -> None:
    """A tree's contexts of 512 shots of 250 characters, behind which 64 prompts stand."""
    shots = [f"\n\nWord: {k} {'salmon and hammer ' * 13}\nGroup: living" for k in range(512)]
    asked = ScoreRequest(
        segments=[*shots, "\n\nWord: cup\nGroup:", "\n\nWord: cat\nGroup:"],
        prefixes=[[None, *range(512)]],
        prompts=[[0, 512], [0, 513]] * 32,
        labels=[" living", " object"],
    )
    found = tokenized(PrefixTokenizer(tokenizer("llama2")), asked)
    assert found.joined_texts == 2 * 3
    assert len(found.prompts) == 64


def test_a_path_longer_than_any_window_is_refused_before_it_is_put_together() -> None:
    counting = Counting("llama2")
    request = ScoreRequest(segments=["x" * 1000], prompts=[[None, *[0] * 100_000]], labels=[" a", " b"])
    with pytest.raises(RequestError, match="prompt 0 has more than") as raised:
        tokenized(PrefixTokenizer(counting), request)
    assert raised.value.code == "prompt_too_long"
    assert counting.num_chars < 10_000


@pytest.mark.parametrize("style", ["gpt2", "llama2"])
def test_of_a_text_that_is_far_too_long_only_the_beginning_is_tokenized(style: str) -> None:
    counting = Counting(style)
    request = ScoreRequest(prompts=["Word: eel", "salmon hammer" * 100_000], labels=[" a", " b"])
    with pytest.raises(RequestError, match="prompt 1") as raised:
        tokenized(PrefixTokenizer(counting, max_prompt_tokens=1000), request)
    assert raised.value.code == "prompt_too_long"
    assert counting.num_chars < 100_000


@pytest.mark.parametrize("style", ["gpt2", "llama3", "llama2", "wordpiece"])
def test_special_tokens_in_texts_are_text_unless_they_are_asked_for(style: str) -> None:
    request = {"prompts": ["Word: salmon</s> <unk>\nGroup:"], "labels": [" living</s>", " object"]}
    plain, special = (tokenize(style, **request, special_tokens=is_special) for is_special in (False, True))
    (end,) = oracle(style, "</s>", special=True)
    assert end in special.prompts[0].path.ids()
    assert end not in plain.prompts[0].path.ids()
    ends = [[end in read.ids for read in found.prompts[0].trie.reads] for found in (plain, special)]
    assert not any(ends[0])
    assert any(ends[1])


def test_added_tokens_that_are_not_marked_as_special_are_found_either_way() -> None:
    """As by transformers' `split_special_tokens`."""
    base = of_transformers(trained("gpt2"), split_special_tokens=True)
    base.add_tokens(["<think>"])
    real = HfTokenizer(base)
    assert list(real.special_tokens or []) == ["<think>"]
    text = "Word: <think></s> salmon"
    request = ScoreRequest(segments=["Word: <th", "ink></s> salmon"], prompts=[[None, 0, 1]], labels=[" a"])
    found = tokenized(PrefixTokenizer(real), request)
    assert found.prompts[0].path.ids().tolist() == base(text)["input_ids"]
    assert base.convert_tokens_to_ids("<think>") in found.prompts[0].path.ids()


def test_a_special_token_that_a_vocabulary_holds_as_text_is_refused() -> None:
    found = error("metaspace", prompts=["Word: </s>"], labels=[" living"])
    assert found.code == "special_token"
    assert "'</s>'" in found.message


def test_a_prompt_that_begins_with_bos_would_have_two() -> None:
    request = {"segments": ["<s>", "Word: eel"], "prompts": [[None, 1], [None, 0, 1]], "labels": [" living"]}
    found = error("llama3", **request, special_tokens=True)
    assert found.code == "begins_with_bos"
    assert "prompt 1" in found.message
    assert tokenize("llama3", **request).prompts[1].path.ids()[1] != 0
