"""The rules that a task file can name, each by its `kind`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError

from icm_annealer.rules.at_most_one import AtMostOne
from icm_annealer.rules.base import Rule
from icm_annealer.rules.different_keys import DifferentKeys
from icm_annealer.rules.exactly_one import ExactlyOne
from icm_annealer.rules.installed import INSTALLED, InstalledRule
from icm_annealer.rules.mirrored import Mirrored
from icm_annealer.rules.python import PythonRule
from icm_annealer.rules.same_key import SameKey
from icm_client.text.validation import first_error

REGISTERED: tuple[type[Rule], ...] = (
    DifferentKeys,
    SameKey,
    AtMostOne,
    ExactlyOne,
    Mirrored,
    PythonRule,
    InstalledRule,
)
"""Every rule of this package."""
RULES: dict[str, type[Rule]] = {str(rule.model_fields["kind"].default): rule for rule in REGISTERED}


def rule_of(stated: Any) -> Rule:
    """The rule that a task file states: `{kind: at_most_one, label: best}`, or `{rule: name, ...}` of an installed
    package. Raises ValueError in one line."""
    if isinstance(stated, Rule):
        return stated
    if not isinstance(stated, dict):
        raise ValueError(f"a rule is stated as fields with their values, not {stated!r}")
    kind = stated.get("kind", InstalledRule.model_fields["kind"].default if "rule" in stated else None)
    if not isinstance(kind, str) or kind not in RULES:
        names = ", ".join(INSTALLED.names())
        installed = f", and of installed packages, as rule: {names}" if names else ""
        raise ValueError(f"no rule has the kind {kind!r} (there are: {', '.join(RULES)}{installed})")
    try:
        return RULES[kind].model_validate(stated)
    except ValidationError as error:
        raise ValueError(f"{kind}: {first_error(error)}") from None


AnyRule = Annotated[Rule, SerializeAsAny(), BeforeValidator(rule_of)]
"""A registered rule, as the field of a pydantic model."""
