#!/usr/bin/env bash
# Writes requirements/cpu.txt: every version of the CPU install and of development. `make lock` calls it.
# Versions that stand there already are kept as far as they can be; `make lock ARGS=--upgrade` takes the newest.
#
# uv resolves, from a virtual environment that is thrown away. It looks where pip is configured to look on this
# machine, and at PyTorch's CPU index only if pip itself does not find torch's CPU build there.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?usage: requirements/lock.sh PYTHON [further options of uv pip compile]}
shift
torch_cpu_index=https://download.pytorch.org/whl/cpu

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
echo "lock: installing uv into a throwaway virtual environment"
"$python" -m venv "$room"
"$room/bin/python" -m pip install -qq --disable-pip-version-check uv

pip_setting() { # the value of a pip setting, from the environment or else from pip's files; empty if there is none
  local variable="PIP_${1^^}"
  variable=${variable//-/_}
  if [ -n "${!variable:-}" ]; then echo "${!variable}"; return; fi
  "$room/bin/python" -m pip config get "install.$1" 2>/dev/null || "$room/bin/python" -m pip config get "global.$1" 2>/dev/null || true
}

# uv takes one value an option; pip separates several by white space.
options=(--index-strategy unsafe-best-match)
default_index=$(pip_setting index-url)
certificates=$(pip_setting cert)
[ -z "$default_index" ] || options+=(--default-index "$default_index")
[ -z "$certificates" ] || export SSL_CERT_FILE="$certificates"
for place in $(pip_setting find-links); do options+=(--find-links "$place"); done
for index in $(pip_setting extra-index-url); do options+=(--extra-index-url "$index"); done

torch=$(sed -n 's/^ *"\(torch==[^"+]*\)".*/\1+cpu/p' pyproject.toml | head -n 1)
if ! "$room/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --dry-run "$torch" 2>/dev/null; then
  options+=(--extra-index-url "$torch_cpu_index")
fi

echo "lock: resolving"
cp requirements/cpu.txt "$room/cpu.txt"
"$room/bin/uv" pip compile --quiet pyproject.toml requirements/cpu.in \
  --extra server-cpu --extra data --extra train --extra dev --extra docs \
  --overrides requirements/left-out.txt \
  --python-version 3.11 \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
  "${options[@]}" "$@" \
  -o "$room/cpu.txt"
mv "$room/cpu.txt" requirements/cpu.txt
echo "lock: wrote requirements/cpu.txt ($(grep -c == requirements/cpu.txt) packages)"
