"""The bench's result as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from icm_annealer.benchmarks.search_presets import REFERENCE
from icm_annealer.benchmarks.searches.chain import ChainRow
from icm_annealer.benchmarks.searches.rows import UNIT
from icm_annealer.benchmarks.searches.summaries import RATIOS, SearchSummary, TaskComparison
from icm_annealer.console.terminal import Terminal

PUBLISHED = {"by fixed": "fixed_tokens", "… each cold": "fixed_tokens_cold"}
NOTES = (
    "tokens: computed, counted with a cold prefix cache of the engine's block size that forgets nothing; measured: as "
    "the engine reported, which is less if it had read the same before. Weighing labels for this table is not counted; "
    f"that {REFERENCE.name} weighs its own answers is. a label: the same for each label that the published search "
    "found; it leaves examples unlabelled, which get the likeliest label at its end. by fixed: the same passes in the "
    "plan of the published code; each cold: by an engine without room for what a pass leaves for the next one, whose "
    "order is the same. passes: reads over examples.",
    f"U ({UNIT}) and margin (nats): all labels on the same fresh orders; ≤ blocks: seeds in which U is not "
    "above that of blocks. right: share of right labels; test: accuracy on unseen examples behind them, raw and "
    "calibrated.",
)
STOPPED = (
    "≈: the published search was stopped before its end; its tokens are extrapolated to a whole one, as if each label "
    "took as many as those that it found."
)


def notes_for(comparisons: Sequence[TaskComparison]) -> list[str]:
    """What has to be said beside these figures."""
    is_extrapolated = any(search.is_extrapolated for comparison in comparisons for search in comparison.searches)
    return [*NOTES, *([STOPPED] if is_extrapolated else [])]


def print_comparisons(console: Terminal, comparisons: Sequence[TaskComparison]) -> None:
    """Two tables a task and size: what searches cost, and what they found."""
    for comparison in comparisons:
        costs = _table(f"{comparison.title}: cost", "tokens", "x blocks", "… a label", "measured", "passes", "seconds")
        found = _table(f"{comparison.title}: labels", "U", "≤ blocks", "margin", "right", "test", "test, cal.")
        for summary in comparison.searches:
            if "tokens" in summary.figures:
                costs.add_row(
                    summary.search,
                    *_tokens(summary, "tokens", "{:.2f}"),
                    *(f"{summary.figures[name].value:,.0f}" for name in ("computed_tokens", "reads_per_example")),
                    _cell(summary, "seconds", "{:,.1f}"),
                )
            for title, name in PUBLISHED.items():
                if name in summary.figures:
                    costs.add_row(f"  {title}", *_tokens(summary, name, "{:.1f}"))
            num = summary.num_not_above_reference
            found.add_row(
                summary.search,
                _cell(summary, "u", "{:+.3f}"),
                "" if num is None else f"{num}/{len(summary.rows)}",
                _cell(summary, "u_margin", "{:+.2f}"),
                *(_cell(summary, name) for name in ("label_accuracy", "test_accuracy", "test_accuracy_calibrated")),
            )
        console.print(costs)
        console.print(found)
    for note in notes_for(comparisons):
        console.print(note, style="dim")


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _tokens(summary: SearchSummary, name: str, form: str) -> list[str]:
    """Tokens, and what they are in ours."""
    ratios = (_cell(summary, ratio, form) for ratio in RATIOS[name])
    return [_cell(summary, name, "{:,.0f}"), *ratios]


def _cell(summary: SearchSummary, name: str, form: str = "{:.3f}") -> str:
    """The figure, and its interval below it."""
    return summary.text(name, form).replace(" [", "\n[")


def print_chain(console: Terminal, checks: Sequence[ChainRow]) -> None:
    """How well cheap measures of U rank labels, against exact leave-one-out."""
    for check in checks:
        table = _table(
            f"{check.task}, {check.n} examples, seed {check.seed}: rank correlation with U by tree",
            *("orders", "tokens", "information", "logprob"),
        )
        for row in check.rows:
            name = "tree, one order with another" if row.plan == "tree" else row.plan
            table.add_row(
                name,
                str(row.orders),
                f"{row.tokens:,.0f}",
                f"{row.information:.2f}",
                f"{row.logprob:.2f}",
            )
        console.print(table)
