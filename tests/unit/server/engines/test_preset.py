"""vLLM's arguments: the machine's preset, adapters, and what the user says over both."""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path

import pytest

from icm_client.contract.errors import RequestError
from icm_server.config import AdapterConfig
from icm_server.engines import vllm as vllm_engine
from icm_server.engines.preset import QUIET_ENVIRONMENT, adapter_space, engine_arguments, environment

METHOD = "VLLM_WORKER_MULTIPROC_METHOD"


def put_gpu(monkeypatch: pytest.MonkeyPatch, *capability: int) -> None:
    """A GPU of this compute capability, and no torch, whose import takes seconds."""
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(get_device_capability=lambda: capability)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)


def test_what_the_user_says_counts_more_than_the_preset() -> None:
    plain = engine_arguments(Path("m"), None, {}, None, gpu=False)
    changed = engine_arguments(Path("m"), "float32", {"block_size": 64, "max_model_len": 100}, None, gpu=False)
    assert plain["block_size"] == 32
    assert changed == {**plain, "dtype": "float32", "block_size": 64, "max_model_len": 100}
    assert "enforce_eager" not in engine_arguments(Path("m"), "bfloat16", {}, None, gpu=True)


def test_what_the_user_overrides_of_a_model_leaves_the_rest_of_the_preset_s() -> None:
    def overrides(**given: object) -> object:
        return engine_arguments(Path("m"), None, {"hf_overrides": given}, None, gpu=False)["hf_overrides"]

    assert overrides(rope_theta=5e5) == {"head_dtype": "float32", "rope_theta": 5e5}
    assert overrides(head_dtype="bfloat16") == {"head_dtype": "bfloat16"}


def test_on_a_cpu_the_model_computes_in_the_engine_s_process_unless_several_share_it() -> None:
    key = "distributed_executor_backend"
    assert engine_arguments(Path("m"), None, {}, None, gpu=False)[key].endswith(".UniProcExecutor")
    assert engine_arguments(Path("m"), None, {key: "mp"}, None, gpu=False)[key] == "mp"
    assert key not in engine_arguments(Path("m"), None, {"tensor_parallel_size": 2}, None, gpu=False)
    assert key not in engine_arguments(Path("m"), "bfloat16", {}, None, gpu=True)


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((12, 0), "bfloat16")])
def test_a_gpu_that_does_not_compute_in_bfloat16_gets_float16(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: str
) -> None:
    put_gpu(monkeypatch, *capability)
    assert engine_arguments(Path("m"), None, {}, None, gpu=True)["dtype"] == dtype


def model_of(folder: Path, **config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


GEMMAS: list[dict[str, object]] = [
    *({"model_type": kind} for kind in ("gemma", "gemma2", "gemma3", "gemma3_text", "paligemma", "recurrent_gemma")),
    {"model_type": "something", "text_config": {"model_type": "gemma3_text"}},
]


@pytest.mark.parametrize("config", GEMMAS, ids=str)
def test_a_gemma_in_float16_is_refused_before_anything_is_loaded(tmp_path: Path, config: dict[str, object]) -> None:
    model = model_of(tmp_path, **config)
    for dtype, extra in (("float16", {}), (None, {"dtype": "half"}), ("bfloat16", {"dtype": "float16"})):
        with pytest.raises(RequestError, match="overflow in float16: use --dtype bfloat16, or float32") as raised:
            engine_arguments(model, dtype, extra, None, gpu=False)
        assert "\n" not in raised.value.message
    for dtype, extra in (("bfloat16", {}), ("float32", {}), ("float16", {"dtype": "float32"})):
        engine_arguments(model, dtype, extra, None, gpu=False)


def test_nor_is_it_given_float16_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(tmp_path, model_type="gemma")
    put_gpu(monkeypatch, 7, 5)
    for dtype in (None, "auto"):
        with pytest.raises(RequestError, match="float32 on a GPU without bfloat16"):
            engine_arguments(model, dtype, {}, None, gpu=True)
    put_gpu(monkeypatch, 9, 0)
    engine_arguments(model, None, {}, None, gpu=True)
    for name in ("dtype", "torch_dtype"):
        with pytest.raises(RequestError, match="overflow in float16"):
            engine_arguments(model_of(tmp_path, model_type="gemma", **{name: "float16"}), "auto", {}, None, gpu=True)


@pytest.mark.parametrize("text", ['{"model_type": "llama"}', "{}", "[]", "{", '{"model_type": 3}', "[" * 10**5])
def test_other_models_may_be_float16(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert engine_arguments(tmp_path, "float16", {}, None, gpu=False)["dtype"] == "float16"


def test_adapters_get_the_smallest_rank_that_holds_them(tmp_path: Path) -> None:
    given = {}
    for name, fields in (("a", {"r": 4}), ("b", {"r": 2, "rank_pattern": {"q_proj": 20}})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(fields))
        given[name] = str(tmp_path / name)
    space = adapter_space(AdapterConfig(given=given))
    found = engine_arguments(Path("m"), None, {}, space, gpu=False)
    assert (found["enable_lora"], found["max_lora_rank"], found["max_loras"]) == (True, 32, 2)
    with_store = AdapterConfig(given={"a": given["a"]}, store=tmp_path / "store")
    found = engine_arguments(Path("m"), None, {"max_lora_rank": 64}, adapter_space(with_store), gpu=False)
    assert (found["max_lora_rank"], found["max_loras"], found["max_cpu_loras"]) == (64, 4, 65)
    assert adapter_space(with_store) == (65, 16)
    assert adapter_space(AdapterConfig()) is None
    with pytest.raises(RequestError, match="in part"):
        engine_arguments(Path("m"), None, {"lora_target_modules": ["q_proj"]}, space, gpu=False)


def test_a_folder_that_is_no_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="adapter 'mine'"):
        adapter_space(AdapterConfig(given={"mine": str(tmp_path)}))


def test_a_gpu_s_engine_is_spawned_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_engine, "has_gpu", lambda: True)
    for named, expected in ((None, "spawn"), ("fork", "fork")):
        monkeypatch.setattr(os, "environ", {} if named is None else {METHOD: named})
        for module in ("vllm", "vllm.v1", "vllm.v1.engine", "vllm.v1.engine.async_llm"):
            monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        vllm_engine.prepare(verbose=True)
        assert os.environ[METHOD] == expected
        assert "TORCH_COMPILE_DISABLE" not in os.environ


@pytest.mark.slow
def test_vllm_takes_the_arguments_that_are_set() -> None:
    from vllm import envs

    ours = environment(gpu=True) | environment(gpu=False) | QUIET_ENVIRONMENT
    assert {name for name in ours if name.startswith("VLLM_")} <= set(envs.environment_variables)
