"""docker/kubernetes.yaml, as far as it goes without a cluster: it agrees with the image, compose.yaml and the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from icm_server.auth.open_paths import ALIVE_PATHS, READY_PATH
from icm_server.cli.app import app as icm_server
from icm_server.config import ServerConfig

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "docker/kubernetes.yaml"
PARTS: dict[str, dict[str, Any]] = {part["kind"]: part for part in yaml.safe_load_all(MANIFEST.read_text())}
SERVICE, SET = PARTS["Service"], PARTS["StatefulSet"]
POD: dict[str, Any] = SET["spec"]["template"]["spec"]
(SCORER,) = POD["containers"]
COMPOSED: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]["scorer"]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
ENVIRONMENT = {each["name"]: each for each in SCORER["env"]}


@pytest.fixture(scope="module")
def serve() -> Any:
    """The container's command as `icm-server` reads it."""
    name, *arguments = SCORER["args"]
    commands: Any = typer.main.get_command(icm_server)
    return commands.commands[name].make_context(name, arguments)


def test_it_is_what_kubernetes_takes() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for part in PARTS.values():
        kubernetes_validate.validate(part, kubernetes_validate.latest_version(), strict=True)


def test_each_scorer_has_a_name_that_clients_can_list() -> None:
    """Also while it is not ready: it says why."""
    assert SERVICE["spec"]["clusterIP"] == "None"
    assert SERVICE["spec"]["publishNotReadyAddresses"] is True
    assert SET["spec"]["serviceName"] == SERVICE["metadata"]["name"]
    labels = SET["spec"]["template"]["metadata"]["labels"]
    assert labels == SERVICE["spec"]["selector"] == SET["spec"]["selector"]["matchLabels"]
    assert labels == PARTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    (port,) = SERVICE["spec"]["ports"]
    names = [
        f"{SET['metadata']['name']}-{number}.{SET['spec']['serviceName']}" for number in range(SET["spec"]["replicas"])
    ]
    addresses = ",".join(f"http://{name}:{port['port']}" for name in names)
    assert f"--scorer {addresses} " in (ROOT / "docs/many_machines.md").read_text()


def test_the_command_and_its_environment_are_those_of_the_program(serve: Any) -> None:
    (port,) = SCORER["ports"]
    assert (serve.params["host"], serve.params["port"]) == ("0.0.0.0", port["containerPort"])
    assert f"EXPOSE {port['containerPort']}" in DOCKERFILE
    assert SERVICE["spec"]["ports"][0]["targetPort"] == port["name"]
    assert serve.params["one_of"] == SET["spec"]["replicas"]  # so a key's limit holds for all together
    assert not serve.params["allow_no_keys"]
    known = {str(option.envvar) for option in serve.command.params if option.envvar}
    assert set(ENVIRONMENT) - known == {"HF_TOKEN"}
    assert set(ENVIRONMENT) <= set(COMPOSED["environment"])
    assert SCORER["image"] == COMPOSED["image"]


def test_probes_ask_what_needs_no_key_and_wait_as_long_as_compose_does() -> None:
    (port,) = SCORER["ports"]
    probes = {name: SCORER[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {port["name"]}
    assert probes["startup"]["httpGet"]["path"] == probes["readiness"]["httpGet"]["path"] == READY_PATH
    assert probes["liveness"]["httpGet"]["path"] in ALIVE_PATHS  # a scorer that drains or loads is alive
    startup_s = probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"]
    assert COMPOSED["healthcheck"]["start_period"] == f"{startup_s // 60}m"
    assert POD["terminationGracePeriodSeconds"] >= 2 * ServerConfig().drain_s  # the engine is closed after that
    assert COMPOSED["stop_grace_period"] == f"{POD['terminationGracePeriodSeconds'] // 60}m"


def test_it_has_no_rights_that_it_does_not_need() -> None:
    user = POD["securityContext"]
    assert user["runAsNonRoot"] is True
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)[-1] == f"{user['runAsUser']}:{user['runAsGroup']}"
    assert POD["automountServiceAccountToken"] is False
    container = SCORER["securityContext"]
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert COMPOSED["read_only"] == f"${{READ_ONLY:-{str(container['readOnlyRootFilesystem']).lower()}}}"


def test_what_is_mounted_is_there_and_where_it_is_looked_for() -> None:
    mounts = {mount["name"]: mount for mount in SCORER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    (claim,) = SET["spec"]["volumeClaimTemplates"]
    assert set(mounts) == set(volumes) | {claim["metadata"]["name"]}
    assert f"HOME={mounts['cache']['mountPath']} " in DOCKERFILE
    assert (
        mounts["keys"]["mountPath"] == ENVIRONMENT["ICM_KEYS_FILE"]["value"] == COMPOSED["environment"]["ICM_KEYS_FILE"]
    )
    assert "subPath" not in mounts["keys"]  # of a folder a running scorer sees new keys
    secrets = {volumes["keys"]["secret"]["secretName"], ENVIRONMENT["HF_TOKEN"]["valueFrom"]["secretKeyRef"]["name"]}
    assert set(re.findall(r"kubectl create secret generic (\S+)", MANIFEST.read_text())) == secrets
    assert volumes["shm"]["emptyDir"]["sizeLimit"].lower() == COMPOSED["shm_size"].replace("gb", "gi")
