"""The runs of a sweep as tasks of a Ray cluster. Only this module imports Ray, where it is asked for.

A task is given JSON and yields JSON, so it needs nothing but this project on its node. Nothing is kept in the cluster:
what a lost node has done is in the journals of its runs, which are resumed elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import Any

from icm_annealer.api.job import LabelJob
from icm_annealer.console.sweep_progress import ShownRun
from icm_annealer.core.library import Library
from icm_annealer.scorers.kind import ScorerKind
from icm_annealer.scoring.limited_scorer import BudgetSpentError
from icm_annealer.sweeping.distant_run import follow, make_run, order_of
from icm_annealer.sweeping.meter import Meter
from icm_annealer.sweeping.place import HERE, Made, ModelCheck, OtherModelError, Place
from icm_annealer.sweeping.plan import PlannedRun, SweepPlan
from icm_client.contract.errors import IcmError, RequestError
from icm_client.text.distribution import install_hint

RAY = Library("ray", "ray")
CONNECT_S, REACH_S, STOP_S = 60.0, 5.0, 15.0
"""The most seconds for joining the cluster, for a connection to its address, and for a task to end in order."""
MAX_REASON = 300


def place_of(address: str | None, plan: SweepPlan) -> AbstractContextManager[Place]:
    """The Ray cluster at this address; None is this process."""
    return contextlib.nullcontext(HERE) if address is None else ray_cluster(address, plan)


@contextlib.contextmanager
def ray_cluster(address: str, plan: SweepPlan, *, connect_s: float = CONNECT_S) -> Iterator[RayCluster]:
    """The cluster at `address`, as `ray.init` takes it, for the runs of `plan`. One that this process has joined
    already is used as it is. Raises RequestError if Ray is not installed or the cluster cannot be joined."""
    RAY.check("a sweep on a Ray cluster")
    # Ray prints what happens to nodes on stdout, among a command's results, where the sweep says what matters. It reads
    # this setting when it is imported.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "^")
    import ray

    is_own = not ray.is_initialized()
    if is_own:
        _join(address, connect_s)
    try:
        yield RayCluster(plan)
    finally:
        if is_own:
            ray.shutdown()


def _join(address: str, connect_s: float) -> None:
    """`ray.init`, which by itself tries for a quarter of an hour."""
    import ray

    host, _, port = address.rpartition(":")
    if "://" in address:
        raise RequestError(f"--ray {address}: give HOST:PORT of the cluster's head, or auto on one of its machines")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
        except (OSError, OverflowError) as error:
            raise RequestError(f"--ray {address}: nothing answers there ({error})", code="unreachable") from None
    failed: list[BaseException] = []

    def join() -> None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except BaseException as error:  # of many kinds
            failed.append(error)

    thread = threading.Thread(target=join, name="ray-init", daemon=True)
    thread.start()
    thread.join(connect_s)
    if thread.is_alive():
        raise RequestError(f"--ray {address}: no cluster has answered within {connect_s:.0f} s", code="unreachable")
    if failed:
        cause = failed[0]
        while cause.__cause__ is not None:
            cause = cause.__cause__
        what = " ".join(str(cause).split())[:MAX_REASON]
        raise RequestError(f"--ray {address}: the cluster cannot be joined: {what}", code="unreachable")


class RayCluster:
    """See `place.Place`. A run on a running scorer takes one CPU. A run on a scorer that starts a model starts one of
    its own, which takes a GPU; in a cluster without any, the CPUs of its smallest node."""

    def __init__(self, plan: SweepPlan):
        import ray

        self._plan = plan
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        num_cpus = min((node["CPU"] for node in nodes if node.get("CPU")), default=1.0)
        self._of_model = {"num_gpus": 1} if any(node.get("GPU") for node in nodes) else {"num_cpus": num_cpus}
        # A run that failed is tried again by the sweep, which knows when, and not by Ray.
        self._task: Any = ray.remote(max_retries=0, num_returns="streaming")(make_run)

    def shares(self, kind: ScorerKind) -> bool:
        return not kind.starts_here

    async def make(self, run: PlannedRun, job: LabelJob, shown: ShownRun, meter: Meter, model: ModelCheck) -> Made:
        import ray

        starts_model = self._plan.scorers[run.group.scorer].named.kind.starts_here
        needs = self._of_model if starts_model else {"num_cpus": 1}
        job.folder.release()  # for the task
        stream = self._task.options(**needs).remote(order_of(self._plan, run, job, model.known))
        try:
            return await follow(_texts(stream), shown, meter, model.found)
        except ray.exceptions.RayError as error:
            raise _lost(error) from error
        except (BudgetSpentError, OtherModelError, asyncio.CancelledError):
            await _stop(stream)
            raise


async def _texts(stream: Any) -> AsyncIterator[str]:
    async for answer in stream:
        yield await answer


async def _stop(stream: Any) -> None:
    """Cancels a task, and waits until it has ended in order."""
    import ray

    ray.cancel(stream)
    with contextlib.suppress(ray.exceptions.RayError, TimeoutError):
        await asyncio.wait_for(stream.completed(), STOP_S)


def _lost(error: Exception) -> Exception:
    """The error of a task: the program's own, or one after which the run is tried again."""
    import ray

    if missing := re.search(r"No module named '[\w.]+'", str(error)):
        how = f"{install_hint('ray')} on every node, in the same version"
        return RequestError(f"a node of the cluster lacks what runs need ({missing[0]}): {how}", code="missing_package")
    of_program = getattr(error, "cause", None)
    if isinstance(of_program, Exception) and not isinstance(of_program, ray.exceptions.RayError):
        return of_program
    return IcmError(f"its task was lost with its node or process ({type(error).__name__})", code="task_lost")
