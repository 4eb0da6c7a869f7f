#!/usr/bin/env bash
# Builds the images of the cpu profile, brings the scorer up, runs the annealer to its end, and takes all down again.
# Needs a Docker engine, Compose (the plugin or docker-compose), 15 GB of disk and some minutes.
#
#   tests/docker/up-cpu.sh
#
#   COMPOSE       "docker compose"; by default whichever of the two there is
#   BUILD_ARGS    more for `docker build`, such as "--build-arg BASE=my-mirror/python:3.11-slim-bookworm"
#   ENGINE        vllm (default), or fake: a scorer without a model, which is ready at once
#   EXAMPLES      how many examples are labelled: 32
#   PORT          where the scorer listens on this host: 8000
#   HOST_NETWORK  1 for an engine without a bridge network: builds and runs on the host's own (needs python3 with PyYAML)
set -euo pipefail
cd "$(dirname "$0")/../.."

engine=${ENGINE:-vllm}
examples=${EXAMPLES:-32}
build_args=${BUILD_ARGS:-}
export PORT=${PORT:-8000} COMPOSE_PROFILES=cpu COMPOSE_PROJECT_NAME=icm-test SERVER_ARGS="--engine $engine"
if [ -z "${COMPOSE:-}" ]; then
  if docker compose version >/dev/null 2>&1; then COMPOSE="docker compose"; else COMPOSE=docker-compose; fi
fi

say() { echo "[$SECONDS s] $*"; }
room=$(mktemp -d)
file=docker/compose.yaml
compose() { $COMPOSE -f "$file" "$@"; }

host_network() { # the resolved compose file on standard input, without what a host network excludes
  local python=python3
  [ ! -x .venv/bin/python ] || python=.venv/bin/python
  "$python" -c '
import os, sys, yaml
config = yaml.safe_load(sys.stdin.read().replace("8000", os.environ["PORT"]).replace("//scorer:", "//127.0.0.1:"))
for service in config["services"].values():
    service.pop("ports", None)
    service.pop("networks", None)
    service["network_mode"] = "host"
config.pop("networks", None)
yaml.safe_dump(config, sys.stdout)'
}

# Of secrets only the place is needed yet.
export KEYS=$room/keys.yaml API_KEY=$room/key
if [ "${HOST_NETWORK:-}" = 1 ]; then
  build_args="--network host $build_args"
  compose config >"$room/resolved.yaml"
  host_network <"$room/resolved.yaml" >"$room/compose.yaml"
  file=$room/compose.yaml
fi

down() {
  local status=$?
  [ "$status" = 0 ] || compose logs --tail 50 scorer-cpu || true
  compose down --volumes --timeout 60 >/dev/null 2>&1 || true
  rm -rf "$room"
  [ "$status" = 0 ] || say "failed"
}
trap down EXIT

# Plain `docker build`, so that BUILD_ARGS are the same for every version of Compose.
say "building the images"
docker build -q $build_args -t icm-scorer-cpu -f docker/Dockerfile.cpu .
docker build -q $build_args -t icm-annealer -f docker/Dockerfile.annealer .

say "making an API key"
docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$room:/keys" icm-scorer-cpu \
  key new tester --keys-file /keys/keys.yaml >"$API_KEY"
chmod 644 "$KEYS" "$API_KEY" # the containers' users read them

say "starting the scorer ($engine)"
compose up --detach --no-build scorer-cpu
scorer=$(compose ps -q scorer-cpu)
until [ "$(docker inspect --format '{{.State.Health.Status}}' "$scorer")" = healthy ]; do
  [ "$(docker inspect --format '{{.State.Running}}{{.RestartCount}}' "$scorer")" = true0 ] || { say "the scorer ended"; exit 1; }
  [ "$SECONDS" -lt 1800 ] || { say "the scorer is not ready after half an hour"; exit 1; }
  sleep 2
done
say "ready; running the annealer, first without its key"
refused=$(compose run --rm -e ICM_API_KEY_FILE=/dev/null annealer run --task living --out /runs/none 2>&1) && code=0 || code=$?
grep -q "asks for an API key" <<<"$refused" && [ "$code" = 1 ] || { say "without a key it ended with $code: $refused"; exit 1; }

compose run --rm annealer run --task living --examples "$examples" --chains 1 --passes 3 --out /runs/demo
labels=$(compose run --rm --entrypoint cat annealer /runs/demo/labels.jsonl | grep -c '"label"')
[ "$labels" = "$examples" ] || { say "labels.jsonl holds $labels labels, not $examples"; exit 1; }
say "labels.jsonl holds $labels labels; a second start of the same run goes on from there"
compose run --rm annealer run --task living --examples "$examples" --chains 1 --passes 3 --out /runs/demo --resume

say "stopping"
docker stop --time 60 "$scorer" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$scorer")
# 143: ended by SIGTERM; 137 would be a kill after the grace period.
[ "$code" = 0 ] || [ "$code" = 143 ] || { say "the scorer ended with $code after SIGTERM"; exit 1; }
say "passed"
