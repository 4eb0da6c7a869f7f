"""Attacks a scorer in the ways that are known, and shows what a key's holder notices: `python -m tests.attack`.

Without --url it starts a scorer of its own with the fake engine, whose speed is such that an engine under load is what
others wait for, as with a real one; `--engine vllm` takes a real one. What is fair: the victim and the attackers are
processes of their own, the attackers' at a low priority and at bounded rates, and the control shows what the
victim notices when the very same attackers attack a program that only reads. A ratio that the control exceeds as well
says nothing about the scorer. Attackers come from other addresses (127.0.0.2 and on) than the victim.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.table import Table
from tests.attack.endurance import endure
from tests.attack.measure import LONG, SHORT, SHORT_TOGETHER, TOGETHER_SECONDS, USUAL, Bounds, Seconds, Seen, measure
from tests.attack.memory import Memory
from tests.attack.programs import FAKE_ENGINE, Attacked, VictimSettings, attackers, scorer, sink, victim
from tests.attack.table import ATTACKS, TOGETHER

HELP = """Attack a scorer in all known ways, and show what another key's holder notices. Exit code 1: out of bounds.

\b
  (nothing)                   each for some seconds, then the worst together
  --short                     each for a moment: a minute in all
  --all                       the worst together, beside a control
  --long                      each for half a minute
  --endurance                 10,000 slow connections for ten minutes
  merging_chain polls         some of them; --list names all
  --url http://127.0.0.1:8000 --victim-key-file a.key --attacker-key-file b.key
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help=HELP)
def main(
    names: Annotated[list[str] | None, typer.Argument(help="Attacks; --list names all.")] = None,
    together: Annotated[bool, typer.Option("--all", help="The worst ones at the same time, and nothing else.")] = False,
    short: Annotated[bool, typer.Option("--short", help="All in less than a minute.")] = False,
    long: Annotated[bool, typer.Option("--long", help="Half a minute each.")] = False,
    endurance: Annotated[bool, typer.Option("--endurance", help="Slow connections for a long time.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Name all attacks, and why they are there.")] = False,
    minutes: Annotated[float, typer.Option(min=0.1, max=600, help="Of --endurance.")] = 10.0,
    connections: Annotated[int, typer.Option(min=10, max=50_000, help="Of --endurance.")] = 10_000,
    url: Annotated[str | None, typer.Option(help="A scorer that runs; default: one of its own.")] = None,
    victim_key_file: Annotated[
        Path | None, typer.Option(exists=True, help="With --url: a key that is not to be hurt.")
    ] = None,
    attacker_key_file: Annotated[
        Path | None, typer.Option(exists=True, help="With --url: another key; default: none.")
    ] = None,
    admin_key_file: Annotated[
        Path | None, typer.Option(exists=True, help="With --url: a key that may read /metrics.")
    ] = None,
    is_own: Annotated[bool, typer.Option("--i-own-this-scorer", help="With --url: not on this machine.")] = False,
    engine: Annotated[str, typer.Option(help="fake or vllm.")] = "fake",
    model: Annotated[str, typer.Option(help="With --engine vllm.")] = "smollm2-135m",
    argument: Annotated[
        list[str] | None, typer.Option("--serve", help="One more argument of icm-server serve; may be repeated.")
    ] = None,
    max_requests: Annotated[int, typer.Option(help="The scorer's own limit.")] = 64,
    descriptors: Annotated[int, typer.Option(help="That its scorer has.")] = 512,
    max_body_mb: Annotated[int, typer.Option(min=4, help="The largest body.")] = 32,
    memory_mb: Annotated[int, typer.Option(help="What the scorer may have in memory.")] = 512,
    addresses: Annotated[int, typer.Option(min=0, max=200, help="Where attackers come from.")] = 4,
    control: Annotated[bool, typer.Option(help="Whether the same attackers attack another program first.")] = True,
) -> None:
    console = Console()
    console.width = max(console.width, 130)
    if listing:
        for attack in ATTACKS.values():
            console.print(f"{attack.name:<24} {'key' if attack.has_key else '   '}  {attack.why}", highlight=False)
        return
    if unknown := [name for name in names or [] if name not in ATTACKS]:
        raise typer.BadParameter(f"no attack {unknown[0]!r}; --list names all")
    if url is not None:
        _check_place(url, is_own)
        if victim_key_file is None:
            raise typer.BadParameter("with --url, name the --victim-key-file")

    @contextlib.asynccontextmanager
    async def attacked(folder: Path, num_descriptors: int) -> AsyncIterator[Attacked]:
        if url is None:
            arguments = FAKE_ENGINE if engine == "fake" else ["--engine", engine, "--model", model]
            arguments = [*arguments, "--limit", f"max_requests={max_requests}", *(argument or [])]
            async with scorer(
                folder,
                arguments,
                max_body_mb=max_body_mb,
                num_descriptors=num_descriptors,
                num_addresses=addresses,
            ) as own:
                yield own
        else:
            assert victim_key_file is not None
            yield Attacked(
                url=url,
                victim_key_file=victim_key_file,
                attacker_key_file=attacker_key_file,
                max_body_bytes=max_body_mb * 2**20,
                admin_key_file=admin_key_file,
                addresses=_addresses(url, addresses),
            )

    bounds = Bounds(memory_bytes=memory_mb * 2**20)

    async def run() -> bool:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if endurance:
                async with attacked(folder, connections + 2000) as its:
                    found = await endure(its, minutes * 60, connections)
                    for line in found.lines():
                        console.print(line, highlight=False, markup=False)
                    return found.is_met
            async with attacked(folder, descriptors) as its:
                plan = _plan(names, its, together=together, short=short, long=long)
                return await _measured(console, its, plan, bounds, folder, control=control)

    try:
        is_met = asyncio.run(run())
    except (RuntimeError, TimeoutError) as error:  # a program has ended, or says nothing any more
        console.print(f"error: {error or 'a program of this measurement does not answer'}", markup=False)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if is_met else 1)


def _plan(
    names: list[str] | None, attacked: Attacked, *, together: bool, short: bool, long: bool
) -> list[tuple[list[str], Seconds]]:
    """What is measured after each other: attacks that are under way at the same time, and for how long."""

    def possible(names: list[str]) -> list[str]:
        return [name for name in names if attacked.attacker_key_file or not ATTACKS[name].has_key]

    each = SHORT if short else LONG if long else USUAL
    singly: list[tuple[list[str], Seconds]] = [([name], each) for name in possible(names or list(ATTACKS))]
    all_of_them = (possible(TOGETHER), SHORT_TOGETHER if short else TOGETHER_SECONDS)
    if names:
        return [(possible(names), all_of_them[1])] if together else singly
    return [all_of_them] if together else [*singly, all_of_them]


async def _measured(
    console: Console,
    attacked: Attacked,
    plan: list[tuple[list[str], Seconds]],
    bounds: Bounds,
    folder: Path,
    *,
    control: bool,
) -> bool:
    """Prints as it goes, then a table; whether all was within bounds."""
    admin = attacked.admin_key_file.read_text().strip() if attacked.admin_key_file else None
    memory = Memory(attacked.pid, attacked.url, admin)
    found: list[Seen] = []
    async with contextlib.AsyncExitStack() as stack:
        others = None
        if control and any(seconds.control for _, seconds in plan):
            sink_url = await stack.enter_async_context(sink(folder))
            others = await stack.enter_async_context(attackers(attacked, sink_url))
        attacking = await stack.enter_async_context(attackers(attacked))
        asking = await stack.enter_async_context(victim(attacked, VictimSettings()))
        for names, seconds in plan:
            seen = await measure(asking, attacking, memory, names, seconds, others=others)
            found.append(seen)
            console.print(_line(seen, bounds), highlight=False, soft_wrap=True)
    console.print(_table(found, bounds))
    return not any(seen.exceeded(bounds) for seen in found)


def _check_place(url: str, is_own: bool) -> None:
    """An attack on somebody else's scorer is one."""
    host = urlsplit(url).hostname or ""
    try:
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if not is_here and not is_own:
        raise typer.BadParameter(f"{host!r} is not this machine: say --i-own-this-scorer if it is yours to attack")


def _addresses(url: str, num: int) -> tuple[str, ...]:
    """Of this machine's own that are no others' and not the victim's; none for a scorer that is not reached by them."""
    return tuple(f"127.0.0.{2 + number}" for number in range(num)) if urlsplit(url).hostname == "127.0.0.1" else ()


def _name(seen: Seen) -> str:
    return seen.names[0] if len(seen.names) == 1 else f"{len(seen.names)} together"


def _line(seen: Seen, bounds: Bounds) -> str:
    """What was out of bounds, and the errors that attackers and victims got."""
    exceeded = seen.exceeded(bounds)
    errors = f"; errors: {seen.errors()}" if seen.errors() else ""
    return f"{_name(seen)}: {', '.join(exceeded) or 'ok'}{errors}; attackers: {dict(seen.attackers)}".replace(
        "[", r"\["
    )


def _table(found: list[Seen], bounds: Bounds) -> Table:
    table = Table(title="a victim's median / p95 in ms, and the scorer's memory in MB")
    for title in ("attack", "control", "before", "during", "after", "x", "bad", "/healthz", "memory", "ok"):
        table.add_column(title, no_wrap=True, overflow="fold")
    for seen in found:
        times = [
            f"{seen.median_s(phase) * 1000:.0f}/{seen.p95_s(phase) * 1000:.0f}" if seen.has(phase) else "-"
            for phase in ("control", "before", "during", "after")
        ]
        ratios = f"{seen.ratio('during', 'median'):.1f}/{seen.ratio('during', 'p95'):.1f}"
        bad = "/".join(str(seen.total(what)) for what in ("refused", "lost", "wrong"))
        memory = "/".join("?" if value is None else f"{value / 2**20:.0f}" for value in seen.memory)
        met = "yes" if not seen.exceeded(bounds) else "NO"
        health = f"{seen.total('health_failed')} failed" if seen.total("health_failed") else "there"
        table.add_row(_name(seen), *times, ratios, bad, health, memory, met)
    table.caption = (
        "control: those attackers attack a program that only reads; x: during / before, at most "
        f"{bounds.median} for the median, {bounds.p95} for the p95 where attackers have no key; "
        f"bad: refused/lost/wrong; memory: before/peak/after, at most {bounds.memory_bytes // 2**20}"
    )
    return table


if __name__ == "__main__":
    app()
