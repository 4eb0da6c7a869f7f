"""`vllm serve` writes a policy's responses: those of its adapter, as it would have drawn them itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm_client import RequestError
from icm_client.http.retry import RetryPolicy
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.lora import with_adapter
from icm_trainer.rl.policy import Policy
from icm_trainer.rl.vllm_writer import VllmServer, VllmWriter

pytestmark = pytest.mark.engine

WAITING = RetryPolicy(patience_s=300.0, max_wait_s=0.5)
PROMPTS = [(0, token, 60) for token in (50, 70) for _ in range(24)]


def adapted(base: BaseModel, rank: int) -> Policy:
    """Clearly another model than its start."""
    import torch

    torch.manual_seed(0)
    model = with_adapter(base.load(), rank, 2 * rank)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if "lora_B" in name:
                one.normal_(std=0.1)
    return Policy.of(model, base)


def test_vllm_writes_what_the_policy_would(stock_vllm: str, tiny_llama: Path, tmp_path: Path) -> None:
    import torch

    base = BaseModel.find(str(tiny_llama), tiny_llama, print)
    policy, server = adapted(base, 8), VllmServer(stock_vllm, retry=WAITING)
    assert server.check(1024).startswith("0.")
    writer = VllmWriter(policy, server, tmp_path / "adapter")
    torch.manual_seed(1)
    written = writer.write(PROMPTS, 12, "a")
    with torch.no_grad():
        weighed = policy.weighed(written)
    print(f"furthest apart: {weighed.apart.abs().max():.1e} nats; KL to the start {weighed.kl.sum(1).mean():.1f} nats")
    assert weighed.kl.sum(1).mean() > 1.0
    assert weighed.apart.abs().max() < 1e-3
    assert len({one.ids for one in written}) > len(written) / 2
    # They end where transformers' own do.
    ends = [one.ids[-1] in policy.ends for one in written]
    stopped = [policy.has_ended(one, "a") and one.ids[-1] not in policy.ends for one in written]
    assert all(len(one.ids) == 12 or policy.has_ended(one, "a") for one in written)
    assert any(stopped)
    assert any(not end and not stop for end, stop in zip(ends, stopped, strict=True))
    assert all("a" not in one.text for one in written)

    # The same random numbers give the same responses; the adapter of a moment ago is in no cache.
    torch.manual_seed(1)
    assert writer.write(PROMPTS, 12, "a") == written
    with torch.no_grad():
        for name, one in policy.model.named_parameters():
            if "lora_B" in name:
                one.mul_(-1)
    torch.manual_seed(1)
    others = writer.write(PROMPTS, 12, "a")
    assert others != written
    with torch.no_grad():
        assert policy.weighed(others).apart.abs().max() < 1e-3

    with pytest.raises(RequestError, match=r"LoRA rank 16 is greater than max_lora_rank 8.*--max-lora-rank"):
        VllmWriter(adapted(base, 16), server, tmp_path / "adapter").write(PROMPTS, 2, "")
