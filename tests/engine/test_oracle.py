"""What vLLM answers is what transformers computes from the same weights, cold and with cached prefixes."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny_models import WORDS
from transformers import AutoModelForCausalLM, AutoTokenizer

from icm_client.contract.adapters import WEIGHTS_FILE
from icm_client.contract.errors import RequestError, ScorerError
from icm_client.contract.wire import ScoreRequest
from icm_server.adapters.registry import Adapters
from icm_server.auth.tenant import ANYONE
from icm_server.config import AdapterConfig, ScoringConfig
from icm_server.engines.vllm import VllmEngine
from icm_server.monitoring.metrics import Metrics
from icm_server.scheduling.scoring import ScoringService

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

LABELS = [[" living"], [" object"], [" male", " female"], [" Word Group"], [" Word: salmon"], ["2024!"]]
"""One token and several, some sharing their first, one with an alias."""

TOLERANCE = 1e-3


class Oracle:
    """Log-probabilities of labels after a prompt by whole forward passes, without any cache."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float32):
        torch.set_num_threads(1)  # threads that wait for each other are slower than one where cores are shared
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    def logprobs(self, prompt: str, labels: list[list[str]]) -> list[float]:
        start = len(self.tokenizer(prompt)["input_ids"])
        steps: dict[tuple[int, ...], torch.Tensor] = {}

        def text_logprob(text: str) -> torch.Tensor:
            ids = self.tokenizer(prompt + text)["input_ids"]
            for stop in range(start, len(ids)):
                if tuple(ids[:stop]) not in steps:
                    steps[tuple(ids[:stop])] = self._next(ids[:stop])
            return torch.stack([steps[tuple(ids[:stop])][ids[stop]] for stop in range(start, len(ids))]).sum()

        return [float(torch.logsumexp(torch.stack([text_logprob(t) for t in texts]), 0)) for texts in labels]

    def _next(self, ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            return torch.log_softmax(self.model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].double(), -1)

    def use(self, adapter: Path) -> None:
        """Applies an adapter, as peft does, in place of the one before."""
        import peft

        base = self.model.unload() if isinstance(self.model, peft.PeftModel) else self.model
        self.model = peft.PeftModel.from_pretrained(base, adapter).eval()


def shot(rng: random.Random, label: str = "") -> str:
    return f"\n\nWord: {' '.join(rng.choices(WORDS, k=rng.randint(1, 4)))}\nGroup:{label}"


def tree(seed: int, num_contexts: int, num_queries: int, num_shots: int) -> dict[str, Any]:
    """Prompts that share their contexts: `num_queries` behind each."""
    rng = random.Random(seed)
    segments, prefixes, prompts = [], [], []
    for context in range(num_contexts):
        shots = [shot(rng, rng.choice([" living", " object"])) for _ in range(rng.randint(0, num_shots))]
        prefixes.append([None, *range(len(segments), len(segments) + len(shots))])
        segments += shots
        for _ in range(num_queries):
            prompts.append([context, len(segments)])
            segments.append(shot(rng))
    return {"segments": segments, "prefixes": prefixes, "prompts": prompts}


SMOLLM2_TREE = tree(2, num_contexts=6, num_queries=5, num_shots=8)


def texts(request: ScoreRequest) -> list[str]:
    def text(numbers: Any) -> str:
        return "".join(request.segments[k] for k in numbers)

    return [text(request.prefixes[p[0]][1:]) + text(p[1:]) for p in request.prompts if not isinstance(p, str)]


def worst(found: list[list[float]], expected: list[list[float]]) -> float:
    return max(abs(a - b) for row, other in zip(found, expected, strict=True) for a, b in zip(row, other, strict=True))


async def test_tiny_llama_cold_and_cached(tiny_engine: VllmEngine, tiny_llama: Path) -> None:
    plan = tree(0, num_contexts=90, num_queries=12, num_shots=8)
    request = ScoreRequest(**plan, labels=LABELS[:4])
    scorer, oracle = ScoringService(tiny_engine, ScoringConfig(read_cache_memory_bytes=0)), Oracle(tiny_llama)
    answer = await scorer.score(request)
    expected = [oracle.logprobs(text, LABELS[:4]) for text in texts(request)]
    assert len(expected) > 1000
    assert worst(answer.logprobs, expected) <= TOLERANCE
    again = await scorer.score(ScoreRequest(**{**plan, "prompts": plan["prompts"][-240:]}, labels=LABELS[:4]))
    assert worst(again.logprobs, expected[-240:]) <= TOLERANCE
    assert again.usage.cached_tokens > again.usage.computed_tokens
    assert answer.usage.joined_texts == again.usage.joined_texts == 0
    assert tiny_engine.info.adds_bos


async def test_adapters_come_and_go_beside_the_base_model(
    tiny_engine: VllmEngine, tiny_llama: Path, tiny_lora: Path, tmp_path: Path
) -> None:
    """Two at once and one replaced: each answers what peft computes with it."""
    folders = {"hand": tiny_lora, **{f"peft{seed}": peft_adapter(tiny_llama, tmp_path, seed) for seed in (1, 2)}}
    plan = tree(1, num_contexts=3, num_queries=4, num_shots=6)
    prompts = texts(ScoreRequest(**plan, labels=LABELS))
    oracle = Oracle(tiny_llama)
    base = [oracle.logprobs(text, LABELS) for text in prompts]
    expected = {}
    for name, folder in folders.items():
        oracle.use(folder)
        expected[name] = [oracle.logprobs(text, LABELS) for text in prompts]
    assert min(worst(rows, base) for rows in expected.values()) > 0.1
    assert worst(expected["peft1"], expected["peft2"]) > 0.1
    config = AdapterConfig(given={"hand": str(tiny_lora)}, store=tmp_path / "store", folders=tmp_path)
    adapters = await Adapters.open(tiny_engine.adapters, config)
    scorer = ScoringService(tiny_engine, adapters=adapters)

    async def put(name: str, folder: str) -> None:
        async with adapters.arriving(name, ANYONE, shared=False) as arrival:
            await adapters.copy(arrival, folder)
            await adapters.put(name, ANYONE, arrival, shared=False)

    async def off_by(model: str, rows: list[list[float]]) -> float:
        return worst((await scorer.score(ScoreRequest(**plan, labels=LABELS, model=model))).logprobs, rows)

    await put("mine", "peft1")
    both = await asyncio.gather(
        off_by("base", base), off_by("hand", expected["hand"]), off_by("mine", expected["peft1"])
    )
    assert max(both) <= TOLERANCE
    await put("mine", "peft2")  # the same name, and no cached prefix or read of the other content
    assert await off_by("mine", expected["peft2"]) <= TOLERANCE
    assert await off_by("hand", expected["hand"]) <= TOLERANCE
    spoilt = shutil.copytree(tmp_path / "peft1", tmp_path / "spoilt")
    weights = load_file(spoilt / WEIGHTS_FILE)
    save_file({name.replace("v_proj", "o_proj"): values for name, values in weights.items()}, spoilt / WEIGHTS_FILE)
    with pytest.raises(RequestError, match="o_proj' has the shape"):
        await put("spoilt", "spoilt")
    # Deleted and given up in the middle of reads: the engine is done with them before it lets the adapter go.
    asked = asyncio.create_task(scorer.score(ScoreRequest(**plan, labels=LABELS, model="mine", fresh=True)))
    while not scorer.dispatcher.num_reads:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await adapters.delete("mine", ANYONE, shared=False)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    while scorer.dispatcher.num_reads:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await adapters.close()
    assert list(await tiny_engine._engine.list_loras()) == [1]
    with pytest.raises(RequestError, match="no model 'mine'"):
        await off_by("mine", base)
    assert await off_by("base", base) <= TOLERANCE
    for version in list(adapters.names.visible_to(ANYONE).values()):
        await tiny_engine.adapters.remove(version.key)  # the engine serves other tests


def peft_adapter(model: Path, folder: Path, seed: int) -> Path:
    """An adapter as peft saves it, with a rank and a scale of its own for some layers."""
    import peft

    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=16,
        target_modules=["q_proj", "v_proj", "gate_proj", "down_proj"],
        rank_pattern={"down_proj": 8},
        alpha_pattern={"layers.1.self_attn.v_proj": 2},
        use_rslora=seed == 2,
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    adapted = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), config)
    for name, values in adapted.named_parameters():
        if "lora_" in name:
            values.data = 0.3 * torch.randn_like(values)
    adapted.save_pretrained(folder / f"peft{seed}")
    return folder / f"peft{seed}"


async def test_the_longest_prompt_is_answered_and_no_longer_one(tiny_engine: VllmEngine) -> None:
    scorer, limit = ScoringService(tiny_engine), tiny_engine.info.max_prompt_tokens
    assert limit == 1023
    answer = await scorer.score(ScoreRequest(prompts=["Word" * (limit - 1)], labels=[" living", " object"]))
    assert answer.usage.prompt_tokens == limit  # BOS with it
    with pytest.raises(RequestError, match="prompt 0 has 1024 tokens"):
        await scorer.score(ScoreRequest(prompts=["Word" * limit], labels=[" living", " object"]))


async def test_more_labels_than_one_read_takes(tiny_engine: VllmEngine) -> None:
    labels = [f"{k}" for k in range(200)]
    answer = await ScoringService(tiny_engine).score(
        ScoreRequest(prompts=["Word:"], labels=labels, terminator="\n\nWord")
    )
    assert len(answer.logprobs[0]) == 200


async def test_a_prefix_is_cached_for_reads_of_the_same_salt_alone(tiny_engine: VllmEngine) -> None:
    ids = list(range(100, 200))
    answers = [await tiny_engine.read(list(ids), [5], "base", 0, salt) for salt in ("a", "a", "b", "b", None)]
    assert [answer.num_cached_tokens for answer in answers] == [0, 96, 0, 96, 0]
    assert max(abs(answer.logprobs[0] - answers[0].logprobs[0]) for answer in answers) < TOLERANCE


async def test_vllm_s_own_metrics_stand_beside_ours(tiny_engine: VllmEngine) -> None:
    scorer = ScoringService(tiny_engine)
    await scorer.score(ScoreRequest(prompts=["Word: salmon"], labels=LABELS[:2]))
    text = Metrics(lambda: scorer, lambda: True, Counter()).text(ANYONE)
    assert b"\nicm_ready 1.0" in text
    assert b"\nvllm:prompt_tokens_total{" in text


async def test_a_read_that_vllm_refuses_fails_alone(tiny_engine: VllmEngine) -> None:
    with pytest.raises(ScorerError):
        await tiny_engine.read([1] * 5000, [5], "base")
    assert len((await tiny_engine.read([1], [5], "base")).logprobs) == 1


async def test_smollm2_in_float32(smollm2_float32: VllmEngine, smollm2: Path) -> None:
    request = ScoreRequest(**SMOLLM2_TREE, labels=LABELS[:4])
    scorer, oracle = ScoringService(smollm2_float32), Oracle(smollm2)
    expected = [oracle.logprobs(text, LABELS[:4]) for text in texts(request)]
    assert worst((await scorer.score(request)).logprobs, expected) <= TOLERANCE
    assert worst((await scorer.score(request)).logprobs, expected) <= TOLERANCE


async def test_smollm2_in_bfloat16(smollm2_bfloat16: VllmEngine, smollm2: Path) -> None:
    """Not exact; its differences are printed (-s), and a wrong head or a rounded one would exceed the bound."""
    request = ScoreRequest(**SMOLLM2_TREE, labels=LABELS[:2])
    oracle = Oracle(smollm2)
    expected = torch.tensor([oracle.logprobs(text, LABELS[:2]) for text in texts(request)])
    found = torch.tensor((await ScoringService(smollm2_bfloat16).score(request)).logprobs)
    apart = (found - expected).abs()
    margins = ((found[:, 0] - found[:, 1]) - (expected[:, 0] - expected[:, 1])).abs()
    print(f"\nbfloat16 against float32: {apart.mean():.4f} nats in the mean, {apart.max():.4f} at most;")
    print(f"between two labels: {margins.mean():.4f} in the mean, {margins.max():.4f} at most")
    assert apart.mean() < 0.1
