"""docs/scorer_promises.md names every limit, and its default is the program's."""

from __future__ import annotations

import re
from pathlib import Path

from icm_client.contract.wire import MAX_LABELS, MAX_REQUEST_CHARS
from icm_server.adapters.check import MAX_TENSORS
from icm_server.adapters.peft_config import MAX_CONFIG_BYTES
from icm_server.adapters.weights_file import MAX_HEADER_BYTES
from icm_server.auth import keys_file
from icm_server.config import MAX_ENGINES, AdapterLimits, ConnectionLimits, Limits, ServerConfig
from icm_server.http import json_body
from icm_server.pool.engine import MAX_LOSSES
from icm_server.pool.frames import MAX_BYTES as MAX_MESSAGE_BYTES
from icm_server.scheduling import whole_answer
from icm_server.tokens.joined_chars import MAX_JOINED_CHARS

PAGE = Path(__file__).parents[2] / "docs/scorer_promises.md"
MB = 2**20
CONFIG = ServerConfig()
DEFAULTS = {
    **{f"`{name}`": value for limits in (Limits(), ConnectionLimits(), AdapterLimits()) for name, value in limits},
    "`--max-body-mb`": CONFIG.max_body_bytes // MB,
    "`--read-cache-memory-mb`": CONFIG.scoring.read_cache_memory_bytes // MB,
    "`--read-cache-file-mb`": CONFIG.scoring.read_cache_file_bytes // MB,
    "an adapter's header": MAX_HEADER_BYTES,
    "an adapter's tensors": MAX_TENSORS,
    "an adapter's configuration": MAX_CONFIG_BYTES,
    "values of a body": json_body.MAX_VALUES,
    "characters of a request": MAX_REQUEST_CHARS,
    "joined characters": MAX_JOINED_CHARS,
    "labels": MAX_LABELS,
    "values of an answer": whole_answer.MAX_VALUES,
    "bytes of the keys file": keys_file.MAX_BYTES,
    "`--engines`": MAX_ENGINES,
    "engines that a read may end": MAX_LOSSES,
    "a message to an engine": MAX_MESSAGE_BYTES,
}


def test_the_page_names_every_limit_and_its_default() -> None:
    documented = dict(re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|", PAGE.read_text(), re.MULTILINE))
    assert documented == {name: f"{value:,.0f}" for name, value in DEFAULTS.items()}


def test_what_the_page_says_of_nginx_is_what_nginx_does() -> None:
    text = PAGE.read_text()
    assert whole_answer.MAX_HELD_VALUES == 8 * whole_answer.MAX_VALUES
    assert "eight times as many for all answers together" in text
    nginx = (PAGE.parents[1] / "docker/nginx.conf").read_text()
    for directive, promised in (
        ("limit_conn address 128;", "128 concurrent requests per address"),
        ("limit_conn all 4096;", "4,096 in total"),
        ("client_header_timeout 10s;", "headers within 10 seconds"),
    ):
        assert directive in nginx
        assert promised in text
    assert f"client_max_body_size {CONFIG.max_body_bytes // MB}m;" in nginx
    assert f"client_max_body_size {CONFIG.adapters.limits.max_adapter_mb + 1}m;" in nginx
