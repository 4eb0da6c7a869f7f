"""A notebook's code, run cell by cell as a script without Jupyter: the last value of each cell is shown as text, and
what draws itself as HTML has to do so.

    python -m tests.notebook docs/notebook.ipynb
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any


def run(notebook: Path) -> None:
    """Raises what a cell raises."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            show(eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names))


def show(value: Any) -> None:
    if value is None:
        return
    if hasattr(value, "_repr_html_"):
        assert value._repr_html_()
    print(repr(value))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
