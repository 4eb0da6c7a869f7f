"""A policy, made once."""

from __future__ import annotations

import pytest

from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.lora import with_adapter
from icm_trainer.rl.policy import Policy


@pytest.fixture(scope="package")
def policy(tiny: BaseModel) -> Policy:
    """Clearly another model than its start."""
    import torch

    torch.manual_seed(0)
    model = with_adapter(tiny.load(), 4, 8)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if "lora_B" in name:
                one.normal_(std=0.15)
    return Policy.of(model, tiny)
