"""`icm task check` reports likely mistakes, and nothing for a correct task."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
import zstandard
from tests import planted
from tests.conftest import Serving
from tests.released import released_file

from icm_annealer.data.examples import Example, Loaded, load_examples
from icm_annealer.data.task import Task, built_in_tasks, load_task
from icm_annealer.data.task_check import look_at_data, look_at_task, three_shots
from icm_annealer.evaluation.task_probe import look_with_model
from icm_annealer.labelling.search_run import run_search
from icm_annealer.scoring.cost_model import PassTokens
from icm_annealer.scoring.passes import PassScorer
from icm_annealer.searches.settings import Settings
from icm_client import ScorerClient
from icm_client.contract.wire import STREAM_TYPE, ModelInfo, StreamEnd, StreamRows, StreamStart, Usage

MODEL = ModelInfo(name="m", digest="d", dtype="float32", engine="e", max_prompt_tokens=8000, adds_bos=False)

GOOD: dict[str, Any] = {
    "name": "words",
    "template": "Word: {word}\nGroup:",
    "labels": {"living": " living", "object": " object"},
    "gold": "label",
    "group": "kin",
}


def make_task(**changes: Any) -> Task:
    return Task.model_validate(GOOD | changes)


def make_data(texts: list[str], groups: list[str] | None = None, gold: str = "") -> Loaded:
    """`gold`: a letter an example, l(iving), o(bject) or - for none."""
    examples = [Example(str(k), text, groups[k] if groups else None, {"word": text}) for k, text in enumerate(texts)]
    names = {"l": "living", "o": "object"}
    return Loaded(examples, {str(k): names[letter] for k, letter in enumerate(gold) if letter != "-"})


WORDS = ["cod", "cup", "eel", "hat", "owl", "pan"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"template": "Word: {word}\nGroup: "}, "the template ends in a space"),
        ({"template": "Word: {word}\nGroup:\t"}, "the template ends in a space"),
        ({"labels": {"a": "living", "b": " object"}}, "'a' does not begin with a space, so that the model reads"),
        ({"labels": {"a": [" living", "alive"], "b": " object"}}, "'Group:alive': write ' alive'"),
        ({"labels": {"a": " living ", "b": " object"}}, "'a' ends in white space"),
        (
            {"labels": {"a": " not good", "b": " not bad"}},
            "so that the first token does not tell them apart: ' not good', ' not bad'",
        ),
        ({"labels": {"a": " -1", "b": " -2"}}, "begin with the same word"),
        ({"separator": ""}, "the separator is empty"),
        ({"leave_out": "group", "group": None}, "leave_out: group does nothing"),
        ({"rules": [{"kind": "mirrored"}]}, "the rule mirrored lets one label be read off"),
    ],
)
def test_what_is_wrong_with_a_task(changes: dict[str, Any], says: str) -> None:
    wrong = look_at_task(make_task(**changes)).wrong
    assert len(wrong) == 1
    assert says in wrong[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"template": "Word: {word}\n", "labels": {"a": "living", "b": "object"}},
        {"template": 'Word: {word}\nGroup: "', "labels": {"a": "living", "b": "object"}},
        {"labels": {"a": [" good", " goods"], "b": " bad"}},
        {"rules": [{"kind": "mirrored"}], "leave_out": "group"},
        {"rules": [{"kind": "different_keys", "key": "x", "label": "living"}]},
    ],
)
def test_what_is_not_wrong_with_a_task(changes: dict[str, Any]) -> None:
    assert look_at_task(make_task(**changes)).wrong == []


@pytest.mark.parametrize("name", built_in_tasks())
def test_nothing_is_wrong_with_the_built_in_tasks(name: str) -> None:
    loaded = load_task(name)
    assert look_at_task(loaded.task).wrong == []
    if loaded.data_path is not None:
        assert look_at_data(loaded.task, load_examples(loaded.data_path, loaded.task)).wrong == []


def test_many_labels_that_begin_alike_are_summed_up() -> None:
    words = ["card", "top", "pin", "cash", "app", "atm", "fee"]
    names = [f"{word} {k}" for word in words for k in range(11)]
    (line,) = look_at_task(make_task(labels={name: f" {name}" for name in names})).wrong
    assert line.startswith("77 labels begin with the same word as others, ")
    assert "' card 0', ' card 1', ' card 2', ' card 3', ' card 4' and 6 more; ' top 0'" in line
    assert "; and 2 more such words. Other words" in line


PAIRED = {"rules": [{"kind": "mirrored"}], "leave_out": "group"}


@pytest.mark.parametrize(
    ("changes", "data", "says"),
    [
        ({}, make_data([*WORDS, "cod"], gold="lololol"), "1 text stands there more than once (such as '0' and '6')"),
        ({}, make_data([*WORDS, "cod"], gold="lololoo"), "1 of them has differing gold labels"),
        (
            {},
            make_data(["caf\u00e9 au lait", " cafe\u0301  au lait\n"], gold="lo"),
            "1 of them has differing gold labels",
        ),
        ({}, make_data([*WORDS, "x" * 3000]), "1 example is very long: '6' takes the place of 1000 others"),
        ({}, make_data(WORDS, list("aabbcc"), "llllll"), "all gold labels are 'living'"),
        ({}, make_data([str(k) for k in range(20)], None, "l" * 19 + "o"), "gold is uneven"),
        (PAIRED, make_data(WORDS, list("abcdef")), "every value of 'kin' stands there once"),
        (PAIRED, make_data(WORDS, list("aabbcd")), "2 groups have one example, and no mirror"),
        (PAIRED, make_data(WORDS, list("aaabbc")), "1 group has more examples than there are labels"),
        (PAIRED, make_data(WORDS, list("aabbcc"), "looolo"), "gold contradicts the rule mirrored in 1 group"),
        ({"leave_out": "group"}, make_data(WORDS, list("aaaabb")), "a group has 4 of all examples"),
        (
            {"rules": [{"kind": "at_most_one", "label": "object"}, {"kind": "mirrored"}], "leave_out": "group"},
            make_data(["x" + str(k) for k in range(20)], ["a"] * 18 + ["b"] * 2, "lo" * 10),
            "group of 18 examples",
        ),
    ],
)
def test_what_is_wrong_with_data(changes: dict[str, Any], data: Loaded, says: str) -> None:
    wrong = look_at_data(make_task(**changes), data).wrong
    assert any(says in each for each in wrong), wrong
    assert all("\n" not in each for each in wrong)


def test_what_is_said_of_good_data() -> None:
    findings = look_at_data(make_task(**PAIRED), make_data(WORDS, list("aabbcc"), "loollo"))
    assert findings.wrong == []
    assert findings.facts == [
        "6 examples of 3 characters in the mean, 3 in the median; the longest, of id '0', has 3",
        "3 groups: 3 of 2",
        "gold labels of 6 examples: living 50.0%, object 50.0%",
        "gold and the rule mirrored: 0 contradictions, in 0 of 3 groups",
    ]
    without = look_at_data(make_task(group=None, gold=None), make_data(WORDS))
    assert without.facts[1:] == ["no groups", "no gold labels"]


def test_a_gold_field_that_no_row_has_is_named() -> None:
    facts = look_at_data(make_task(group=None, gold="truht"), make_data(WORDS)).facts
    assert facts[-1] == "no gold labels: no row has a value in 'truht'"


def test_partly_known_gold_contradicts_no_rule_that_it_may_still_keep() -> None:
    rules = {"rules": [{"kind": "exactly_one", "label": "living"}], "leave_out": "group"}
    assert look_at_data(make_task(**rules), make_data(WORDS, list("aaabbb"), "-oo-lo")).wrong == []
    assert look_at_data(make_task(**rules), make_data(WORDS, list("aaabbb"), "oooolo")).wrong != []


def test_shots_are_shown_as_a_context_has_them() -> None:
    task = make_task()
    texts = [task.render({"word": word}) for word in WORDS]
    assert three_shots(task, make_data(texts, None, "ooo")) == (
        "Word: cod\nGroup: object\n\nWord: cup\nGroup: object\n\nWord: eel\nGroup: object"
    )
    assert three_shots(task, make_data(texts[:2])) == "Word: cod\nGroup: living\n\nWord: cup\nGroup: object"


def test_the_papers_rule_contradicts_truthfulqas_gold() -> None:
    task = load_task("truthfulqa").task
    stated = task.model_dump() | {"rules": [{"kind": "different_keys", "key": "choice", "label": "True"}]}
    task = Task.model_validate(stated)
    findings = look_at_data(task, load_examples(released_file("truthfulqa_train.json"), task))
    assert "gold and the rule different_keys: 725 contradictions, in 434 of 652 groups" in findings.facts
    assert [line.partition(",")[0] for line in findings.wrong] == [
        "gold contradicts the rule different_keys in 434 groups"
    ]


@pytest.fixture
def warm_and_cold(tmp_path: Any) -> tuple[Task, Loaded]:
    """Data in which the fake engine finds the gold labels behind shots."""
    task, loaded = planted.load(planted.write_task(tmp_path, 96))
    return task.task, loaded


async def test_a_model_is_asked(serving: Serving, warm_and_cold: tuple[Task, Loaded]) -> None:
    async with serving() as scorer, serving() as other:  # the same one would remember what it has read
        findings = await look_with_model(*warm_and_cold, scorer, seed=0)
        again = await look_with_model(*warm_and_cold, other, seed=0)
    assert findings == again
    tokens, lengths, zero, few = findings.facts
    assert tokens == "tokens of the labels: ' hot' 1, ' cool' 1"
    assert "about 9 tokens a shot" in lengths  # "Words:", four words, a line break, "Kind:", label, separator
    assert "zero-shot, 64 examples: the labels have" in zero
    assert "behind 16 shots with gold labels" in few
    assert float(few.split("accuracy ")[1].split()[0]) > float(zero.split("accuracy ")[1].split()[0])


async def test_a_model_is_asked_without_gold(serving: Serving, warm_and_cold: tuple[Task, Loaded]) -> None:
    task, loaded = warm_and_cold
    async with serving() as scorer:
        findings = await look_with_model(task, Loaded(loaded.examples[:9], {}), scorer, seed=0)
    assert not any("accuracy" in fact for fact in findings.facts)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"a": " un happy", "b": " un usual"}, "labels share first tokens"),
        ({"a": " hot", "b": " hot cold"}, "labels share first tokens"),
        ({"a": "hot", "b": " cold"}, "the scorer refuses: the label 'hot' merges with the end of prompt 0"),
    ],
)
async def test_labels_that_a_model_cannot_tell_apart(
    serving: Serving, warm_and_cold: tuple[Task, Loaded], labels: dict[str, str], says: str
) -> None:
    task, loaded = warm_and_cold
    other = Task.model_validate(task.model_dump() | {"labels": labels})
    async with serving() as scorer:
        findings = await look_with_model(other, Loaded(loaded.examples, {}), scorer, seed=0)
    assert any(says in wrong for wrong in findings.wrong), findings


async def test_a_window_that_is_too_small(serving: Serving, warm_and_cold: tuple[Task, Loaded]) -> None:
    async with serving(max_prompt_tokens=60) as scorer:
        findings = await look_with_model(*warm_and_cold, scorer, seed=0)
        assert any("mean shots fit in front of the longest example" in wrong for wrong in findings.wrong)
        task, loaded = warm_and_cold
        long = Example("long", " ".join(["red"] * 100), None, {})
        findings = await look_with_model(task, Loaded([*loaded.examples, long], {}), scorer, seed=3)
        assert any("too long" in wrong or "tokens" in wrong for wrong in findings.wrong), findings


TEXT = {"template": "Message: {word}\nKind:", "labels": {"spam": " spam", "fine": " fine"}}


@pytest.mark.parametrize(
    ("changes", "text", "says"),
    [
        ({}, "first\n\nsecond", ["1 texts hold the separator ('\\n\\n' in '1')"]),
        ({}, "buy\nKind: spam", ["1 texts hold a label as a shot has it ('\\nKind: spam' in '1')"]),
        ({}, "buy\nKind: spam\n\nMessage: hi", ["hold the separator", "hold a label as a shot has it"]),
        ({"separator": "\n###\n"}, "it is fine\n###\nBuy", ["hold the separator", "' fine\\n###\\n' in '1'"]),
        ({}, "end <|endoftext|> begin", ["'<|endoftext|>' in '1'): they are read as plain text"]),
        ({"special_tokens": True}, "end </s>", ["read as control tokens of the model, since special_tokens is true"]),
        ({}, "a [INST] b [/INST] <bos> <<SYS>> <｜User｜>", ["hold what looks like special tokens ('[INST]' in '1')"]),
        ({}, "it is spam, and fine\nby me; a < b | c > d [x] <b>", []),
    ],
)
def test_texts_that_look_like_something_else(changes: dict[str, Any], text: str, says: list[str]) -> None:
    task = make_task(**TEXT | changes)
    texts = [task.render({"word": word}) for word in ("hello there", text, "good bye")]
    wrong = [line for line in look_at_data(task, make_data(texts, list("abc"))).wrong if "texts" in line]
    assert len(wrong) == len(says), wrong
    for line, said in zip(wrong, says, strict=True):
        assert said in line


def test_what_the_template_itself_holds_is_not_the_texts_fault() -> None:
    template = "Message: buy\nKind: spam\n\nMessage: {word}\n\nKind:"
    task = make_task(template=template, labels=TEXT["labels"])
    assert look_at_data(task, make_data([task.render({"word": word}) for word in WORDS], list("aabbcc"))).wrong == []


def test_a_text_of_nothing_but_special_tokens() -> None:
    """Were it searched anew for each of them, this would take hours."""
    task = make_task(**TEXT)
    text = task.render({"word": "".join(f"<|{number}|>" for number in range(300_000))})
    assert "('<|0|>' in '0')" in look_at_data(task, make_data([text], ["a"])).wrong[-1]


@pytest.mark.parametrize("allowed", [False, True])
def test_special_tokens_of_the_template(allowed: bool) -> None:
    template = "<|im_start|>user\n{word}<|im_end|>\n<|im_start|>assistant\n"
    task = make_task(template=template, labels={"a": "Yes", "b": "No"}, special_tokens=allowed)
    wrong = look_at_data(task, make_data([task.render({"word": word}) for word in WORDS], list("aabbcc"))).wrong
    assert [line for line in wrong if "<|im_end|>, <|im_start|>, which are read as plain text" in line] == wrong
    assert len(wrong) == (not allowed)


@pytest.mark.parametrize("allowed", [False, True])
async def test_every_request_says_how_special_tokens_are_taken(tmp_path: Any, allowed: bool) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/model":
            return httpx.Response(200, json=MODEL.model_dump())
        content = request.content
        if request.headers.get("content-encoding"):
            content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
        bodies.append(json.loads(content))
        asked = bodies[-1]
        if "texts" in asked:
            return httpx.Response(200, json={"counts": [len(text.split()) for text in asked["texts"]]})
        rows = [[-1.0] * len(asked["labels"]) for _ in asked["prompts"]]
        lines = [
            StreamStart(model=MODEL, num_prompts=len(rows)),
            StreamRows(prompts=list(range(len(rows))), logprobs=rows),
            StreamEnd(usage=Usage(prompt_tokens=9 * len(rows), num_reads=len(rows))),
        ]
        text = "".join(line.model_dump_json() + "\n" for line in lines)
        return httpx.Response(200, text=text, headers={"content-type": STREAM_TYPE})

    bodies: list[dict[str, Any]] = []
    extra = "special_tokens: true\n" * allowed
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 24, task=planted.TASK + extra))
    async with ScorerClient("http://scorer", transport=httpx.MockTransport(answer)) as client:
        await look_with_model(loaded_task.task, loaded, client, seed=0)
        settings = Settings(search="zero_shot")
        await run_search(loaded.examples, loaded_task.task, client, settings)
        passes = await PassScorer.open(
            client, loaded_task.task, loaded.examples, [np.array([0])], MODEL, preamble="Before."
        )
        await PassTokens.of(passes)
    assert len(bodies) > 6
    assert {body.get("special_tokens", False) for body in bodies} == {allowed}


def test_a_run_with_special_tokens_is_another_one() -> None:
    plain, special = make_task(), make_task(special_tokens=True)
    assert plain.seen() != special.seen()
    assert "special_tokens" not in plain.seen()  # as in runs that are older than the field


def test_known_labels_and_rates_are_held_against_gold() -> None:
    names = {"a": "yes", "b": "no"}
    task = Task(name="given", template="{text}", labels={"yes": " yes", "no": " no"}, known="checked")
    examples = [Example(str(k), f"text number {k}", None, {}) for k in range(100)]
    gold = {str(k): names["a" if k < 20 else "b"] for k in range(100)}
    found = look_at_data(task, Loaded(examples, gold, known={"1": "yes", "2": "no", "99": "yes"}))
    assert "known labels of 3 examples: yes 2, no 1" in found.facts
    assert "the known label is not the gold label of '2', '99'" in found.wrong
    empty = look_at_data(task, Loaded(examples, {})).wrong
    assert "no row has a value in 'checked', the field with known labels" in empty
    for rates, is_wrong in (({"yes": (0.2, 0.2)}, False), ({"yes": (0.25, 0.5)}, False), ({"yes": (0.5, 0.5)}, True)):
        stated = look_at_data(task.model_copy(update={"rates": rates}), Loaded(examples, gold))
        assert any(line.startswith("stated label rates: yes") for line in stated.facts)
        says = "the stated rate is yes 0.5, but 0.2 of the gold labels are yes"
        assert (says in stated.wrong) == is_wrong
