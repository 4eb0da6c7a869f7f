"""AsyncLLM with nothing around it, in the scorer's own settings: what HTTP in front of it is measured against.

A line of standard input names a file with a request; the line of standard output that answers it says what its reads
took, in the scorer's order and with as many in the engine at once. Tokenizing, planning and all else is done before.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

from icm_client.contract.wire import ScoreRequest
from icm_server.engines import vllm as vllm_engine
from icm_server.engines.hf_tokenizer import HfTokenizer
from icm_server.engines.preset import engine_arguments, has_gpu
from icm_server.scheduling.request_plan import Planner
from icm_server.sharing.steps import finished
from icm_server.tokens.prefix_tokens import PrefixTokenizer

numbers = itertools.count()


async def main(model: Path, extra: dict[str, Any]) -> None:
    vllm_engine.prepare(verbose=False)
    from transformers import AutoTokenizer
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_arguments(model, None, extra, None, gpu=has_gpu())))
    config = engine.vllm_config
    tokenizer = PrefixTokenizer(HfTokenizer(AutoTokenizer.from_pretrained(model)))
    planner = Planner(tokenizer, tokenizer, config.model_config.max_model_len - 1, lambda keys: {}, 2**20)
    window = 2 * config.scheduler_config.max_num_seqs
    gc.collect()
    gc.freeze()
    say({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        request = ScoreRequest.model_validate_json(Path(line.strip()).read_text())
        plan = await asyncio.to_thread(finished, planner.plan(request, b""))
        prompts = [
            ([*plan.prompts[read.prompt].path.ids(), *read.read.path], list(read.read.ids))
            for quantum in plan.quanta
            for read in quantum.reads
        ]
        start = time.perf_counter()
        num_cached = await read_all(engine, prompts, window)
        seconds = time.perf_counter() - start
        computed = sum(len(ids) for ids, _ in prompts) - num_cached
        say({"seconds": seconds, "reads": len(prompts), "computed_tokens": computed})
    engine.shutdown()


async def read_all(engine: Any, prompts: list[tuple[list[int], list[int]]], window: int) -> int:
    """Returns how many tokens the prefix cache held."""
    from vllm import SamplingParams
    from vllm.inputs import tokens_input
    from vllm.sampling_params import RequestOutputKind

    room = asyncio.Semaphore(window)
    num_cached = 0

    async def read(ids: list[int], token_ids: list[int]) -> None:
        nonlocal num_cached
        try:
            params = SamplingParams(
                max_tokens=1,
                temperature=0,
                logprob_token_ids=token_ids,
                flat_logprobs=True,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
                skip_clone=True,
            )
            outputs = engine.generate(tokens_input(ids), params, str(next(numbers)))
            output = [output async for output in outputs][-1]
            assert len(output.outputs[0].logprobs.logprobs) > len(token_ids)
            num_cached += output.num_cached_tokens or 0
        finally:
            room.release()

    async with asyncio.TaskGroup() as tasks:
        for ids, token_ids in prompts:
            await room.acquire()
            tasks.create_task(read(ids, token_ids))
    return num_cached


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
