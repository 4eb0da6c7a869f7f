"""Who takes part: searches by name, with the settings that each is run with."""

from __future__ import annotations

import math

from icm_annealer.search.gibbs import GibbsSettings
from icm_annealer.search.growing import GrowingSettings
from icm_annealer.search.joint import JointSettings
from icm_annealer.search.official import OfficialSettings
from icm_annealer.search.zero_shot import ZeroShotSettings
from icm_annealer.settings import Settings
from icm_client.errors import RequestError

OURS, OFFICIAL, GOLD = "blocks", "official", "gold"

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
    "joint_raw": Settings(search="joint", joint=JointSettings(num_final_orders=0)),
    "gibbs_raw": Settings(search="gibbs", gibbs=GibbsSettings(scan="sweep", num_final_orders=0)),
}
"""`joint` and `gibbs` are in the form that does best for few tokens, `_raw` as published. Our search alone weighs its
answers itself, since it has several; that is counted. What the bench weighs all answers by is not."""

STOPPED = ("growing", "joint", "gibbs", "joint_raw", "gibbs_raw")
"""Those that are stopped at the tokens that our search took for the same seed, if it took part."""

FULL = (OURS, OFFICIAL, "zero_shot", "growing", "joint", "gibbs", GOLD)
SHORT = (OURS, "zero_shot", "growing", "joint", GOLD)


def check_names(names: list[str]) -> list[str]:
    """The names without repetitions, ours first, since the others are measured by it. Raises RequestError."""
    for name in names:
        if name not in CONTESTANTS and name != GOLD:
            raise RequestError(f"no search {name!r}: it is one of {', '.join([*CONTESTANTS, GOLD])}")
    return sorted(dict.fromkeys(names), key=lambda name: name != OURS)


def expected_shots(search: str, num: int, num_iterations: float) -> float:
    """About how many shots a search of `num` examples computes: for the time left only."""
    pass_by_tree = num * math.log2(max(num, 2))
    if search == OFFICIAL:
        return num_iterations * (0.3 * num + 0.4 * pass_by_tree)
    return {GOLD: 0.0, "zero_shot": 1.0 * num, "growing": 8.0 * num}.get(search, 40.0 * num)
