"""Responses written by a server are those of the policy's adapter, in its tokens; all else is refused."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI
from tests.http_app import running
from tests.trained import policy as planted_policy
from tests.trained import reward_model, run_policy
from tests.vllm_app import Answer, WritingApp

from icm_client import RequestError, ScorerError, UnavailableError
from icm_client.http.retry import RetryPolicy
from icm_trainer.models.base_model import BaseModel
from icm_trainer.rl.job import RlJob
from icm_trainer.rl.policy import Policy
from icm_trainer.rl.vllm_writer import VllmServer, VllmWriter

PROMPTS = [(0, 50, 60), (0, 70), (0, 70)]


def server_at(url: str) -> VllmServer:
    return VllmServer(url, retry=RetryPolicy(patience_s=0.0))


def every(change: Callable[[Answer], None]) -> Callable[[Answer], None]:
    """Spoils every response of an answer."""

    def spoil(answer: Answer) -> None:
        for choice in answer["choices"]:
            change(choice)

    return spoil


def first_id(choice: Answer, token: object) -> None:
    choice["token_ids"][0] = token


def first_logprob(choice: Answer, value: float) -> None:
    choice["logprobs"]["token_logprobs"][0] = value


def break_off(choice: Answer) -> None:
    choice.update(token_ids=[5], logprobs={"token_logprobs": [-1.0]})


def test_a_server_writes_what_the_policy_would(tiny: BaseModel, policy: Policy, tmp_path: Path) -> None:
    import torch

    app = WritingApp(tiny)
    with running(app.app) as url:
        server = server_at(url)
        assert server.check(1024) == "0.32.0"
        writer = VllmWriter(policy, server, tmp_path / "adapter")
        torch.manual_seed(1)
        written = writer.write(PROMPTS, 6, " is")
        assert [one.prompt for one in written] == PROMPTS
        assert policy.weighed(written).apart.abs().max() < 1e-4
        (one, two) = app.asked
        assert (one["n"], two["n"]) == (1, 2)
        assert one["seed"] != two["seed"]
        torch.manual_seed(1)
        assert writer.write(PROMPTS, 6, " is") == written
        assert writer.write(PROMPTS, 6, " is") != written
        for spoil, says in (
            (every(lambda choice: first_id(choice, 5.0)), "answered something other than"),
            (every(lambda choice: choice["prompt_token_ids"].pop()), "answered something other than"),
            (every(lambda choice: choice.pop("logprobs")), "answered something other than"),
            (lambda answer: answer["choices"].pop(), "answered something other than"),
            (every(lambda choice: first_logprob(choice, -9999.0)), "minus infinity"),
            (every(lambda choice: first_id(choice, 100_000)), "wrote the token 100000"),
            (every(break_off), "broke a response off after 1 of 6 tokens"),
        ):
            app.spoil = spoil
            with pytest.raises(ScorerError, match=says):
                writer.write(PROMPTS, 6, "")
        assert app.loaded == {}


def test_a_server_that_cannot_write_is_refused(tiny: BaseModel) -> None:
    app, without = WritingApp(tiny), WritingApp(tiny, loads_adapters=False)
    with running(app.app) as url, running(without.app) as other, running(FastAPI()) as none:
        with pytest.raises(RequestError, match=r"window of 1,024 tokens, .* may take 1,025"):
            server_at(url).check(1025)
        with pytest.raises(RequestError, match="loads no adapters: it has to be vLLM, started by VLLM_ALLOW"):
            server_at(other).check(10)
        with pytest.raises(RequestError, match="/v1/models"):
            server_at(none).check(10)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(UnavailableError, match="Is the address right"):
            server_at(f"http://127.0.0.1:{free.getsockname()[1]}").check(10)


@pytest.mark.slow
def test_a_training_goes_on_where_its_server_went_away(tiny: BaseModel, tmp_path: Path) -> None:
    reward, whole, gone = reward_model(tiny, tmp_path / "reward"), tmp_path / "whole", tmp_path / "gone"
    app = WritingApp(tiny)
    with running(app.app) as url:

        def by_server(out: Path) -> RlJob:
            job = planted_policy(tiny, reward, out)
            settings = job.settings.model_copy(update={"writer": "vllm", "steps": 4, "looks": 2})
            return replace(job, settings=settings, server=server_at(url))

        record = run_policy(by_server(whole))
        assert record.versions["vllm"] == "0.32.0"
        steps = [one for row in record.log for one in row.by_step]
        assert len(steps) == 4
        assert max(one["mismatch"] for one in [*steps, *(row.figures for row in record.log)]) < 1e-4
        assert record.kept.figures["kl"] > 1e-3
        assert "at temperature 1 by vllm;" in (whole / "README.md").read_text()
        assert app.loaded == {}
        assert not (whole / "checkpoint").exists()

        app.faults = [200] * 10 + [503]
        with pytest.raises(UnavailableError, match="continue with --resume"):
            run_policy(by_server(gone))
        by_itself = by_server(gone).settings.model_copy(update={"writer": "transformers"})
        with pytest.raises(RequestError, match=r"another setting writer \(vllm, now transformers\)"):
            run_policy(replace(by_server(gone), settings=by_itself), resume=True)
        assert run_policy(by_server(gone), resume=True).log == record.log
        assert (gone / "adapter_model.safetensors").read_bytes() == (whole / "adapter_model.safetensors").read_bytes()

        app.spoil = every(lambda choice: first_logprob(choice, -8.0))
        with pytest.raises(RequestError, match="what writes the responses is no copy of the policy"):
            run_policy(by_server(tmp_path / "other"))
        assert not (tmp_path / "other/checkpoint/state.json").exists()
