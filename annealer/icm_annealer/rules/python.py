"""The rule `python`: a function that the task file names."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from icm_annealer.rules.function import FunctionRule, load_foreign
from icm_client.contract.errors import RequestError

ALLOW_CODE = "which runs with your rights: look at it, and allow it with --allow-code if you trust its author"
"""The warning about code that a task file names."""


class PythonRule(FunctionRule):
    """`module:function`, of any module that Python finds.

    A task file that names code is a program, so the user must allow it: nothing is imported until `allowed` is called.
    """

    help: ClassVar[str] = "what your function counts, called with the group's rows and labels"

    kind: Literal["python"] = "python"
    function: str = Field(pattern=r"^[\w.]+:\w+$")
    _is_allowed: bool = PrivateAttr(default=False)
    _loaded: Callable[..., Any] | None = PrivateAttr(default=None)

    @property
    def title(self) -> str:
        return self.function

    @property
    def code(self) -> str:
        return self.function

    def allowed(self) -> Self:
        """A copy of the rule with permission to run its code. The permission is not saved with the rule."""
        rule = self.model_copy()
        rule._is_allowed = True
        return rule

    def function_of(self) -> Callable[..., Any]:
        if not self._is_allowed:
            raise RequestError(f"the rule {self.function!r} is code, {ALLOW_CODE}", code="code_not_allowed")
        if self._loaded is None:
            module, name = self.function.split(":")
            self._loaded = load_foreign(self.title, lambda: getattr(importlib.import_module(module), name))
        assert self._loaded is not None
        return self._loaded
