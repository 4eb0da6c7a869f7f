"""`icm train`: the commands of this package, which `icm` shows where it is installed."""

from __future__ import annotations

import typer

from icm_trainer.cli.assistant import assistant
from icm_trainer.cli.merge import merge
from icm_trainer.cli.relabel import relabel
from icm_trainer.cli.rl import eval_rl, rl
from icm_trainer.cli.rm import eval_rm, rm
from icm_trainer.cli.sft import sft

app = typer.Typer(no_args_is_help=True, help="Train models on labels.")
app.command()(sft)
app.command()(rm)
app.command("eval-rm")(eval_rm)
app.command()(rl)
app.command("eval-rl")(eval_rl)
app.command()(relabel)
app.command()(merge)


def extend(icm: typer.Typer) -> None:
    """Adds this package's commands to `icm`."""
    icm.add_typer(app, name="train")
    icm.command()(assistant)
