"""The bench's result as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from icm_annealer.benchmarks.gaps import GAP_NOTE
from icm_annealer.benchmarks.search_presets import REFERENCE
from icm_annealer.benchmarks.searches.chain import ChainRow
from icm_annealer.benchmarks.searches.summaries import RATIOS, SearchSummary, TaskComparison
from icm_annealer.benchmarks.weighing import UNIT
from icm_annealer.console.terminal import Terminal

PUBLISHED = {"by fixed": "fixed_tokens", "… each cold": "fixed_tokens_cold"}
COSTS = ("tokens", "x blocks", "… a label", "measured", "passes", "seconds")
FOUND = ("U", "≤ blocks", "search gap", "right", "test", "test, cal.")
"""The columns of a comparison's two tables, behind the searches' names."""
NOTES = (
    "tokens: computed, counted with a cold prefix cache of the engine's block size that forgets nothing; measured: as "
    "the engine reported, which is less if it had read the same before. Weighing labels for this table is not counted; "
    f"that {REFERENCE.name} weighs its own answers is. a label: the same for each label that the published search "
    "found; it leaves examples unlabelled, which get the likeliest label at its end. by fixed: the same passes in the "
    "plan of the published code; each cold: by an engine without room for what a pass leaves for the next one, whose "
    "order is the same. passes: reads over examples.",
    f"U ({UNIT}): all labels on the same fresh orders; ≤ blocks: seeds in which U is not above that of blocks. right: "
    "share of right labels; test: accuracy on unseen examples behind them, raw and calibrated.",
    GAP_NOTE,
)
STOPPED = (
    "≈: the published search was stopped before its end; its tokens are extrapolated to a whole one, as if each label "
    "took as many as those that it found."
)

KNOWN = "right: without the known labels, which every search is given."


def notes_for(comparisons: Sequence[TaskComparison]) -> list[str]:
    """What has to be said beside these figures."""
    is_extrapolated = any(search.is_extrapolated for comparison in comparisons for search in comparison.searches)
    rows = [row for comparison in comparisons for search in comparison.searches for row in search.rows]
    has_known = any(row.num_known for row in rows)
    return [*NOTES, *([STOPPED] if is_extrapolated else []), *([KNOWN] if has_known else [])]


def print_comparisons(console: Terminal, comparisons: Sequence[TaskComparison]) -> None:
    """Two tables a task and size, at most 100 columns wide: what searches cost, and what they found."""
    for comparison in comparisons:
        costs, found = _table(f"{comparison.title}: cost", *COSTS), _table(f"{comparison.title}: labels", *FOUND)
        for name, *cells in cost_rows(comparison):
            costs.add_row(name, *map(_stacked, cells))
        for name, *cells in found_rows(comparison):
            found.add_row(name, *(_stacked(cell).replace(", ", ",") for cell in cells))
        console.print(costs)
        console.print(found)
    for note in notes_for(comparisons):
        console.print(note, style="dim")


def cost_rows(comparison: TaskComparison) -> Iterator[list[str]]:
    """The table of what searches cost: a name, and texts for COSTS. The published search has a row for each way to
    count, with the first columns only."""
    for summary in comparison.searches:
        if "tokens" in summary.figures:
            measured = [short(summary.figures[name].value) for name in ("computed_tokens", "reads_per_example")]
            yield [summary.search, *_tokens(summary, "tokens"), *measured, summary.text("seconds", short)]
        for title, name in PUBLISHED.items():
            if name in summary.figures:
                yield [f"  {title}", *_tokens(summary, name)]


def found_rows(comparison: TaskComparison) -> Iterator[list[str]]:
    """The table of what they found: a search's name, and texts for FOUND."""
    for summary in comparison.searches:
        num = summary.num_not_above_reference
        yield [
            summary.search,
            _quality(summary, "u", "+"),
            "" if num is None else f"{num}/{len(summary.rows)}",
            summary.weighed.text(),
            *(_quality(summary, name) for name in ("label_accuracy", "test_accuracy", "test_accuracy_calibrated")),
        ]


def short(value: float) -> str:
    """A number from 0 up with three digits or four: `0.97`, `128`, `8,159`, `67.1k`, `3.31M`."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= 10_000 and value >= size:
            return f"{value / size:.{_num_decimals(value / size)}f}{unit}"
    return f"{value:,.{_num_decimals(value)}f}"


def _num_decimals(value: float) -> int:
    return 2 if value < 10 else 1 if value < 100 else 0


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0)
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _tokens(summary: SearchSummary, name: str) -> list[str]:
    """Tokens, and what they are in ours."""
    return [summary.text(figure, short) for figure in (name, *RATIOS[name])]


def _quality(summary: SearchSummary, name: str, sign: str = "") -> str:
    """A figure with three decimals, and its interval with two."""
    decimals = (f"{{:{sign}.{num}f}}".format for num in (3, 2))
    return summary.text(name, *decimals)


def _stacked(text: str) -> str:
    """The figure, and its interval below it."""
    return text.replace(" [", "\n[")


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
