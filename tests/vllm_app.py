"""What `vllm serve --enable-lora` answers to a training of a policy: its adapters write by transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.lora import with_saved_adapter
from icm_trainer.rl.policy import Policy

Answer = dict[str, Any]


class WritingApp:
    """`spoil` changes answers; `faults` are statuses that are answered in the place of the next responses."""

    def __init__(self, base: BaseModel, *, loads_adapters: bool = True):
        self.base, self.loaded = base, dict[str, Policy]()
        self.spoil: Callable[[Answer], None] = lambda answer: None
        self.faults: list[int] = []
        self.asked: list[Answer] = []
        self.window = 1024
        self.app = FastAPI()
        self.app.get("/v1/models")(self.models)
        self.app.get("/version")(self.version)
        self.app.post("/v1/completions")(self.completions)
        if loads_adapters:
            self.app.post("/v1/load_lora_adapter")(self.load)
            self.app.post("/v1/unload_lora_adapter")(self.unload)

    async def models(self) -> Answer:
        return {"data": [{"id": "base", "owned_by": "vllm", "max_model_len": self.window}]}

    async def version(self) -> Answer:
        return {"version": "0.32.0"}

    async def load(self, request: Request) -> Response:
        body = await request.json()
        name, folder = body["lora_name"], Path(body["lora_path"])
        if not name or name in self.loaded:
            return _refused(400, "no name, or one that is loaded")
        if not (folder / "adapter_config.json").is_file():
            return _refused(404, f"Loading lora {name} failed: No adapter found")
        self.loaded[name] = Policy.of(with_saved_adapter(self.base.load(), folder), self.base)
        return Response("Success")

    async def unload(self, request: Request) -> Response:
        del self.loaded[(await request.json())["lora_name"]]
        return Response("Success")

    async def completions(self, request: Request) -> Response:
        import torch

        body = await request.json()
        self.asked.append(body)
        if self.faults and (status := self.faults.pop(0)) != 200:
            return _refused(status, "out of order")
        policy, prompt = self.loaded[body["model"]], tuple(body["prompt"])
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(body["seed"] % 2**32)
            written = policy.write([prompt] * body["n"], body["max_tokens"], "".join(body["stop"]))
            chosen = policy.weighed(written).chosen.tolist()
        choices = [
            {
                "index": number,
                "prompt_token_ids": list(prompt),
                "token_ids": list(one.ids),
                "logprobs": {"token_logprobs": chosen[number][: len(one.ids)]},
            }
            for number, one in enumerate(written)
        ]
        answer = {"choices": choices[::-1]}
        self.spoil(answer)
        return JSONResponse(answer)


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "code": status}}, status)
