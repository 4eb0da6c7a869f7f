"""An adapter that an engine would apply in part, or that is none, is refused with a message that says what is wrong."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapter_files import PLACE, config, safetensors, save_adapter, weights, with_header

from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE
from icm_client.contract.errors import RequestError
from icm_server.adapters.check import PREFIX, CheckedAdapter, check_adapter
from icm_server.adapters.weights_file import read_header
from icm_server.engines.fake_adapters import BASE, WIDTH


def checked(folder: Path) -> CheckedAdapter:
    return check_adapter(folder, BASE, 16)


def test_what_an_adapter_is(tmp_path: Path) -> None:
    found = checked(save_adapter(tmp_path / "a", 0, rank=4))
    assert (found.rank, found.num_modules) == (4, 6)
    assert found.num_bytes == sum(file.stat().st_size for file in (tmp_path / "a").iterdir())
    assert checked(save_adapter(tmp_path / "same", 0, rank=4)).digest == found.digest
    others = [save_adapter(tmp_path / "b", 1, rank=4), save_adapter(tmp_path / "c", 0, rank=4, lora_alpha=4)]
    assert len({found.digest, *(checked(folder).digest for folder in others)}) == 3


def test_modules_may_have_ranks_of_their_own(tmp_path: Path) -> None:
    folder = save_adapter(tmp_path, rank=2, rank_pattern={"v_proj": 4, "mlp.down_proj": 8})
    ranks = {"q_proj": 2, "v_proj": 4, "down_proj": 8}
    tensors = {}
    for name in BASE:
        module = name.removesuffix(".weight")
        tensors |= weights(0, ranks[module.rpartition(".")[2]], [module])
    (folder / WEIGHTS_FILE).write_bytes(safetensors(tensors))
    assert checked(folder).rank == 8


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "IA3"}, "peft_type: Input should be 'LORA'"),
    ({"task_type": "SEQ_CLS"}, "task_type"),
    ({"modules_to_save": ["score"]}, "'modules_to_save' is set, and vLLM would not apply it"),
    ({"bias": "all"}, "'bias' is set"),
    ({"use_dora": True}, "'use_dora' is set"),
    ({"layer_replication": [[0, 1]]}, "'layer_replication' is set"),
    ({"trainable_token_indices": [1]}, "'trainable_token_indices' is set"),
    ({"target_parameters": ["experts"]}, "'target_parameters' is set"),
    ({"a_field_of_tomorrow": 1}, "'a_field_of_tomorrow' is set"),
    ({"vllm_lora_scaling_factor": 3.0}, "'vllm_lora_scaling_factor' is set"),
    ({"init_lora_weights": "pissa"}, "changes the base model's weights"),
    ({"rank_pattern": {"(a+)+b": 4}}, "rank_pattern"),
    ({"alpha_pattern": {"x": -1}}, "alpha_pattern.x"),
    ({"lora_alpha": float("inf")}, "lora_alpha"),
    ({"r": 0}, "r: Input should be greater than"),
    ({"r": True}, "r: Input should be a valid integer"),
    ({"r": 3}, "has the shape .*, and the base model and the rank 3 need"),
    ({"target_modules": None}, "target_modules: Field required"),
]


@pytest.mark.parametrize(("fields", "says"), CONFIGS, ids=[next(iter(fields)) for fields, _ in CONFIGS])
def test_a_configuration_that_would_be_applied_in_part(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    folder = save_adapter(tmp_path)
    (folder / CONFIG_FILE).write_text(json.dumps(config() | fields))
    with pytest.raises(RequestError, match=says) as raised:
        checked(folder)
    assert (raised.value.code, raised.value.status) == ("bad_adapter", 422)
    assert "\n" not in raised.value.message


def lora(half: str, module: str = PLACE) -> str:
    return f"{PREFIX}{module}.lora_{half}.weight"


ONE = weights(0, 2, [PLACE])
WRONG_WEIGHTS = {
    "no tensors": (safetensors({}), "it has no weights"),
    "of a full module": (safetensors(ONE | {f"{PREFIX}score.weight": ONE[lora("A")]}), "is no LoRA of a linear layer"),
    "of an embedding": (
        safetensors(ONE | {f"{PREFIX}model.embed_tokens.base_layer.weight": ONE[lora("A")]}),
        "no LoRA",
    ),
    "of DoRA": (safetensors(ONE | {f"{PREFIX}{PLACE}.lora_magnitude_vector": ONE[lora("A")]}), "no LoRA"),
    "without a prefix": (safetensors({f"{PLACE}.lora_A.weight": ONE[lora("A")]}), "no LoRA"),
    "one half": (safetensors({lora("A"): ONE[lora("A")]}), "has no lora_B"),
    "of another layer": (safetensors(ONE | weights(0, 2, ["model.layers.9.self_attn.q_proj"])), "has no layer"),
    "of the output layer": (safetensors(ONE | weights(0, 2, ["lm_head"])), "output layer"),
    "of another width": (safetensors(ONE | {lora("B"): np.zeros((WIDTH + 1, 2), "<f4")}), r"shape \[9, 2\]"),
    "smaller": (safetensors(ONE | {lora("A"): np.zeros((2, WIDTH - 1), "<f4")}), r"need \[2, 8\]"),
    "transposed": (safetensors(ONE | {lora("A"): ONE[lora("A")].T.copy()}), "need"),
    "flat": (safetensors(ONE | {lora("A"): ONE[lora("A")].reshape(-1)}), "need"),
    "nan": (safetensors(ONE | {lora("A"): np.full((2, WIDTH), np.nan, "<f4")}), "not finite"),
    "infinite": (safetensors(ONE | {lora("A"): np.full((2, WIDTH), np.inf, "<f4")}), "not finite"),
    "a pickle": (pickle.dumps({"a": 1}), "not a safetensors file|header"),
    "empty": (b"", "not a safetensors file"),
    "cut off": (safetensors(ONE)[:-1], "describes"),
    "longer": (safetensors(ONE) + b"x", "describes"),
    "a huge header": ((2**62).to_bytes(8, "little") + b"{}", "cut off"),
    "a long header": (with_header(b" " * 2**23), "the limit is"),
    "deep": (with_header(b"[" * 10**5), "not JSON"),
    "no object": (with_header(b"[]"), "not a JSON object"),
    "twice": (with_header(b'{"a": 1, "a": 2}'), "not JSON"),
    "no entry": (with_header(b'{"a": 1}'), "entry of 'a'"),
    "negative": (with_header(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', b"1234"), "entry"),
    "backwards": (with_header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}', b"1234"), "entry"),
    "a gap": (with_header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', b"12345678"), "gaps"),
    "shared": (
        with_header(
            json.dumps(
                {lora(half): {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 64]} for half in "AB"}
            ).encode(),
            b"\0" * 64,
        ),
        "overlap",
    ),
    "integers": (
        safetensors(ONE).replace(b'"F32"', b'"I32"'),
        "type 'I32' instead of F32, F16 or BF16",
    ),
    "too short": (safetensors(ONE).replace(b'"F32"', b'"F16"'), "size of its shape"),
}


@pytest.mark.parametrize("what", WRONG_WEIGHTS)
def test_weights_that_would_be_applied_in_part_or_are_none(tmp_path: Path, what: str) -> None:
    content, says = WRONG_WEIGHTS[what]
    folder = save_adapter(tmp_path)
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(RequestError, match=says) as raised:
        checked(folder)
    assert raised.value.code == "bad_adapter"
    assert "\n" not in raised.value.message


def test_a_rank_above_the_engine_s(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="its rank is 17, and this scorer takes ranks up to 16"):
        checked(save_adapter(tmp_path, rank=17))


def test_a_packed_base_model_is_named_as_such(tmp_path: Path) -> None:
    packed = {name.replace(".weight", ".qweight"): shape for name, shape in BASE.items()}
    with pytest.raises(RequestError, match="is packed"):
        check_adapter(save_adapter(tmp_path), packed, 16)


def test_bfloat16_is_read_as_such(tmp_path: Path) -> None:
    folder = save_adapter(tmp_path)
    header = {
        lora(half): {"dtype": "BF16", "shape": shape, "data_offsets": [start, start + 32]}
        for half, shape, start in (("A", [2, 8], 0), ("B", [8, 2], 32))
    }
    for value, is_taken in ((0x3F80, True), (0x7F7F, True), (0xFF80, False), (0x7FC0, False)):
        content = np.full(32, value, "<u2").tobytes()
        (folder / WEIGHTS_FILE).write_bytes(with_header(json.dumps(header).encode(), content))
        if is_taken:
            assert checked(folder).num_modules == 1
        else:
            with pytest.raises(RequestError, match="not finite"):
                checked(folder)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(with_header))
def test_any_bytes_are_a_file_or_an_error(content: bytes) -> None:
    with contextlib.suppress(RequestError):
        read_header(io.BytesIO(content))
