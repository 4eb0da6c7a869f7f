#!/usr/bin/env bash
# Builds the images of the cpu profile, brings a scorer up, runs the annealer to its end, and takes all down again.
# Needs a Docker engine, Compose (the plugin or docker-compose), 15 GB of disk and some minutes.
#
#   tests/docker/up-cpu.sh
#
#   COMPOSE       "docker compose"; by default whichever of the two there is
#   BUILD_ARGS    more for `docker build`, such as "--build-arg BASE=my-mirror/python:3.11-slim-bookworm"
#   ENGINE        vllm (default), or fake: a scorer without a model, which is ready at once
#   EXAMPLES      how many examples are labelled: 32
#   PORT          where the scorer listens on this host: 8000
#   SERVICE       scorer-cpu (default), or scorer: the gpu profile's service with its command, user, mounts and limits, only
#                 without a device and from the CPU image, since its own takes a GPU
#   HOST_NETWORK  1 for an engine without a bridge network: builds and runs on the host's own (needs python3 with PyYAML)
#   NO_BUILD      1 if the images are there already
set -euo pipefail
cd "$(dirname "$0")/../.."

engine=${ENGINE:-vllm}
examples=${EXAMPLES:-32}
build_args=${BUILD_ARGS:-}
service=${SERVICE:-scorer-cpu}
case $service in
  scorer-cpu) profile=cpu ;;
  scorer) profile=gpu ;;
  *) echo "SERVICE is scorer-cpu or scorer, not $service" >&2; exit 2 ;;
esac
export PORT=${PORT:-8000} COMPOSE_PROFILES=$profile COMPOSE_PROJECT_NAME=icm-test SERVER_ARGS="--engine $engine"
export MODEL=${MODEL:-smollm2-135m}
if [ -z "${COMPOSE:-}" ]; then
  if docker compose version >/dev/null 2>&1; then COMPOSE="docker compose"; else COMPOSE=docker-compose; fi
fi

say() { echo "[$SECONDS s] $*"; }
room=$(mktemp -d)
file=docker/compose.yaml
compose() { $COMPOSE -f "$file" "$@"; }

adapted() { # the resolved compose file on standard input, as this engine can run it
  local python=python3
  [ ! -x .venv/bin/python ] || python=.venv/bin/python
  "$python" -c '
import os, sys, yaml
text = sys.stdin.read()
if os.environ.get("HOST_NETWORK") == "1":
    text = text.replace("8000", os.environ["PORT"]).replace("//scorer:", "//127.0.0.1:")
config = yaml.safe_load(text)
if "scorer" in config["services"]:
    config["services"]["scorer"] |= {"image": "icm-scorer-cpu"}
    del config["services"]["scorer"]["deploy"]
if os.environ.get("HOST_NETWORK") == "1":
    for service in config["services"].values():
        service.pop("ports", None)
        service.pop("networks", None)
        service["network_mode"] = "host"
    config.pop("networks", None)
yaml.safe_dump(config, sys.stdout)'
}

for each in gpu cpu monitoring annealer tls; do COMPOSE_PROFILES=$each compose config -q; done

# Of secrets only the place is needed yet.
export KEYS=$room/keys API_KEY=$room/key
mkdir "$KEYS"
chmod 755 "$room" "$KEYS" # the containers' users read there
[ "${HOST_NETWORK:-}" != 1 ] || build_args="--network host $build_args"
if [ "${HOST_NETWORK:-}" = 1 ] || [ "$service" = scorer ]; then
  compose config >"$room/resolved.yaml"
  adapted <"$room/resolved.yaml" >"$room/compose.yaml"
  file=$room/compose.yaml
fi

down() {
  local status=$?
  [ "$status" = 0 ] || compose logs --tail 50 "$service" || true
  compose down --volumes --timeout 60 >/dev/null 2>&1 || true
  rm -rf "$room"
  [ "$status" = 0 ] || say "failed"
}
trap down EXIT

# Plain `docker build`, so that BUILD_ARGS are the same for every version of Compose.
if [ "${NO_BUILD:-}" != 1 ]; then
  say "building the images"
  docker build -q $build_args -t icm-scorer-cpu -f docker/Dockerfile.cpu .
  docker build -q $build_args -t icm-annealer -f docker/Dockerfile.annealer .
fi

say "making an API key"
docker run --rm --network none --user "$(id -u):$(id -g)" --volume "$KEYS:/keys" icm-scorer-cpu \
  key new tester --keys-file /keys/keys.yaml >"$API_KEY"
chmod 644 "$KEYS/keys.yaml" "$API_KEY" # the containers' users read them

say "starting the service $service ($engine)"
compose up --detach --no-build "$service"
scorer=$(compose ps -q "$service")
until [ "$(docker inspect --format '{{.State.Health.Status}}' "$scorer")" = healthy ]; do
  [ "$(docker inspect --format '{{.State.Running}}{{.RestartCount}}' "$scorer")" = true0 ] || { say "the scorer ended"; exit 1; }
  [ "$SECONDS" -lt 1800 ] || { say "the scorer is not ready after half an hour"; exit 1; }
  sleep 2
done
say "ready; running the annealer, first without its key"
refused=$(compose run --rm -e ICM_API_KEY_FILE=/dev/null annealer run --task living --out /runs/none 2>&1) && code=0 || code=$?
grep -q "needs an API key" <<<"$refused" && [ "$code" = 1 ] || { say "without a key it ended with $code: $refused"; exit 1; }

compose run --rm annealer run --task living --first "$examples" --chains 1 --passes 3 --out /runs/demo
labels=$(compose run --rm --entrypoint cat annealer /runs/demo/labels.jsonl | grep -c '"label"')
[ "$labels" = "$examples" ] || { say "labels.jsonl holds $labels labels, not $examples"; exit 1; }
say "labels.jsonl holds $labels labels; a second start of the same run goes on from there"
compose run --rm annealer run --task living --first "$examples" --chains 1 --passes 3 --out /runs/demo --resume

say "stopping"
docker stop --time 60 "$scorer" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$scorer")
# 143: ended by SIGTERM; 137 would be a kill after the grace period.
[ "$code" = 0 ] || [ "$code" = 143 ] || { say "the scorer ended with $code after SIGTERM"; exit 1; }
say "passed"
