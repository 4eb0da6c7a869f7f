"""Builds the sdist and, out of it, the wheel; installs the wheel into an empty environment and uses it there.

    python -m tests.check_wheel [--newest]        `make check` does it

Packages come from where pip looks on this machine, in the versions of the lock; with --newest, in the versions that an
installation gets today.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

from icm_client.text.distribution import DISTRIBUTION, install_hint

ROOT = Path(__file__).parents[1]
PACKAGES = [
    ROOT / "client/icm_client",
    ROOT / "server/icm_server",
    ROOT / "annealer/icm_annealer",
    ROOT / "trainer/icm_trainer",
    ROOT / "lab/icm_lab",
]
MAX_WHEEL_BYTES = 4 * 2**20
"""The laboratory's models are 1.9 MB of it: what outgrows this belongs into a distribution of its own."""
LIGHT = {"torch", "vllm", "transformers", "fastapi", "datasets", "pyarrow"}
"""What the plain installation must not bring."""


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """What the command printed. Ends the check if its exit code is another, or it printed a traceback."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ICM_"))}
    ended = subprocess.run(command, cwd=cwd, env=quiet, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ended.returncode != code or "Traceback" in ended.stdout:
        sys.exit(f"error: {' '.join(map(str, command))} ended with {ended.returncode}:\n{ended.stdout}")
    return ended.stdout


def require(true: bool, what: str) -> None:
    if not true:
        sys.exit(f"error: {what}")


def build(folder: Path) -> Path:
    """The wheel. Checks that every file of the packages is in it, and its size."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        inside = {entry.filename: entry.compress_size for entry in archive.infolist()}
    files = [path for package in PACKAGES for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    names = {str(path.relative_to(package.parent)) for package in PACKAGES for path in files if package in path.parents}
    require(names <= set(inside), f"not in the wheel: {', '.join(sorted(names - set(inside)))}")
    models = sum(size for name, size in inside.items() if name.startswith("icm_lab/models/"))
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.1f} MB, of which {models / 1e6:.1f} MB models of the laboratory")
    print(f"{sdist.name}: {sdist.stat().st_size / 1e6:.1f} MB")
    require(size <= MAX_WHEEL_BYTES, f"{wheel.name} is larger than {MAX_WHEEL_BYTES} bytes")
    return wheel


def use(wheel: Path, folder: Path, constraints: list[str | Path]) -> None:
    """Installs the wheel, at first alone and then with the extra `server`, and tries both."""
    bin_ = folder / "venv/bin"
    venv.create(folder / "venv", with_pip=True)
    pip = [bin_ / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-compile", *constraints]
    run(*pip, wheel, cwd=folder)
    installed = run(bin_ / "python", "-m", "pip", "--disable-pip-version-check", "list", cwd=folder).lower().split()
    require(not LIGHT & set(installed), f"the plain installation brings {', '.join(LIGHT & set(installed))}")
    for command in ("icm", "icm-server"):
        require("Usage" in run(bin_ / command, "--help", cwd=folder), f"{command} --help shows no usage")
    require("living" in run(bin_ / "icm", "tasks", cwd=folder), "icm tasks does not list the task living")
    fake = [bin_ / "icm", "run", "--task", "living", "--first", "32", "--engine", "fake", "--out", "run"]
    said = run(*fake, cwd=folder, code=2)
    require(install_hint("server") in said, f"without the extra server a run does not name it:\n{said}")
    print(f"installed alone: icm --help, icm-server --help, icm tasks; a run says {install_hint('server')}")
    # By the name that the hint gives: pip takes what is installed, and adds the extra's packages.
    run(*pip, f"{DISTRIBUTION}[server]", cwd=folder)
    run(*fake, "--overwrite", cwd=folder)
    run(bin_ / "icm", "report", "run", cwd=folder)
    for name in ("labels.jsonl", "report.html"):
        require((folder / "run" / name).stat().st_size > 0, f"the run left no {name}")
    print("installed with the extra server: icm run --engine fake, icm report")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--newest", action="store_true", help="the newest versions, and not those of the lock")
    newest = parser.parse_args().newest
    constraints: list[str | Path] = [] if newest else ["--constraint", ROOT / "requirements/cpu.txt"]
    with tempfile.TemporaryDirectory() as name:
        use(build(Path(name)), Path(name), constraints)


if __name__ == "__main__":
    main()
