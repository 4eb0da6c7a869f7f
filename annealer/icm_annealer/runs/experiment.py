"""The name under which a scorer counts a run's work. A leaf."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from icm_client.contract.wire import DEFAULT_EXPERIMENT

MAX_READABLE = 48


def own_experiment(folder: Path, name: str = "") -> str:
    """`default-NAME-HASH`, for a run in `folder` to which the user gives none: the same whenever it is continued there.

    `name` is by default that of the folder; the hash tells apart folders of one name. A scorer with keys puts the key's
    name in the place of `default`.
    """
    place = folder.resolve()
    readable = re.sub(r"[^A-Za-z0-9_.+]+", "-", name or place.name).strip("-")[:MAX_READABLE]
    digest = hashlib.blake2b(str(place).encode(errors="surrogateescape"), digest_size=3).hexdigest()
    return "-".join(part for part in (DEFAULT_EXPERIMENT, readable, digest) if part)
