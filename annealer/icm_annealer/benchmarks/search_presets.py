"""Searches by name, with the settings that each is compared with."""

from __future__ import annotations

import math

from icm_annealer.search.bootstrap import BootstrapSettings
from icm_annealer.search.gibbs import GibbsSettings
from icm_annealer.search.growing import GrowingSettings
from icm_annealer.search.joint import JointSettings
from icm_annealer.search.official import OfficialSettings
from icm_annealer.search.settings import Settings
from icm_annealer.search.zero_shot import ZeroShotSettings

OURS, OFFICIAL = "blocks", "official"


def _bootstrap(*, keeps_rules: bool, is_calibrated: bool = True) -> Settings:
    settings = BootstrapSettings(keeps_rules=keeps_rules, is_calibrated=is_calibrated, num_final_orders=0)
    return Settings(search="bootstrap", bootstrap=settings)


CONTESTANTS: dict[str, Settings] = {
    OURS: Settings(),
    # By `tree`: contexts of the same shots as by `fixed`, though in another order, at a price that can be waited for.
    OFFICIAL: Settings(search="official", plan="tree", official=OfficialSettings(num_final_orders=0)),
    "zero_shot": Settings(search="zero_shot", zero_shot=ZeroShotSettings(num_final_orders=0)),
    "growing": Settings(search="growing", growing=GrowingSettings(num_final_orders=0)),
    "joint": Settings(search="joint", joint=JointSettings(is_calibrated=True, num_final_orders=0)),
    "gibbs": Settings(
        search="gibbs",
        gibbs=GibbsSettings(scan="sweep", start="zero-shot", is_calibrated=True, num_final_orders=0),
    ),
    "bootstrap": _bootstrap(keeps_rules=False),
    "bootstrap_consistent": _bootstrap(keeps_rules=True),
    "joint_raw": Settings(search="joint", joint=JointSettings(num_final_orders=0)),
    "gibbs_raw": Settings(search="gibbs", gibbs=GibbsSettings(scan="sweep", num_final_orders=0)),
    "bootstrap_raw": _bootstrap(keeps_rules=False, is_calibrated=False),
}
"""`joint`, `gibbs` and `bootstrap` are in the form that does best for few tokens, `_raw` without calibration. Our
search alone weighs its answers itself, since it has several; that is counted. What the bench weighs all answers by is
not."""

STOPPED = tuple(name for name in CONTESTANTS if name not in (OURS, OFFICIAL, "zero_shot"))
"""Those that are stopped at the tokens that our search took for the same seed, if it took part."""


def expected_shots(search: str, num: int, num_iterations: float) -> float:
    """About how many shots a search of `num` examples computes: for the time left only."""
    pass_by_tree = num * math.log2(max(num, 2))
    if search == OFFICIAL:
        return num_iterations * (0.3 * num + 0.4 * pass_by_tree)
    shots = {"zero_shot": 1.0, "growing": 8.0}.get(search, 16.0 if search.startswith("bootstrap") else 40.0)
    return shots * num
