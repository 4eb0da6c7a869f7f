"""Imports go one way: icm_lab -> icm_trainer -> icm_annealer -> icm_client <- icm_server, and the light programs stay
light."""

from __future__ import annotations

import ast
import functools
import graphlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "icm_client": ROOT / "client/icm_client",
    "icm_server": ROOT / "server/icm_server",
    "icm_annealer": ROOT / "annealer/icm_annealer",
    "icm_trainer": ROOT / "trainer/icm_trainer",
    "icm_lab": ROOT / "lab/icm_lab",
}
HEAVY = {"torch", "vllm", "transformers", "peft", "trl"}
LATE = HEAVY | {"datasets", "matplotlib", "pandas", "pyarrow", "ray"}
"""What the command line does not load before it is needed."""


def module_files(package: str) -> dict[str, Path]:
    """Every module of `package` by its dotted name."""
    folder = PACKAGES[package]
    names = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


FILES = {name: path for package in PACKAGES for name, path in module_files(package).items()}


def imported_names(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """Dotted names that `source` imports anywhere, also inside functions; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: None if is_package else -1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            yield from (f"{base}.{alias.name}" for alias in node.names)


@functools.cache
def imports_of(module: str) -> frozenset[str]:
    path = FILES[module]
    source = path.read_text(encoding="utf-8")
    return frozenset(imported_names(source, module, is_package=path.name == "__init__.py"))


def modules_imported_by(module: str) -> set[str]:
    """The project's own modules that `module` imports; for a.b that is no module, a, which defines b."""
    names = imports_of(module)
    return {name if name in FILES else name.rpartition(".")[0] for name in names} & set(FILES)


def packages_imported_by(module: str) -> set[str]:
    return {name.split(".")[0] for name in imports_of(module)}


def modules_of(package: str) -> list[str]:
    return [module for module in FILES if module.split(".")[0] == package]


def test_the_finder_sees_local_and_relative_imports() -> None:
    source = "from ..task import Task\nfrom . import base\ndef f():\n    import torch.nn as nn\n"
    found = list(imported_names(source, "icm_annealer.search.blocks", is_package=False))
    assert found == ["icm_annealer.task.Task", "icm_annealer.search.base", "torch.nn"]
    assert list(imported_names("from . import plan", "icm_annealer", is_package=True)) == ["icm_annealer.plan"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_finder_sees_each_package(package: str) -> None:
    assert modules_of(package)


def offenders(modules: Iterable[str], wrong_in: Callable[[str], set[str]]) -> dict[str, set[str]]:
    """The modules with wrong imports, and those."""
    return {module: wrong for module in modules if (wrong := wrong_in(module))}


MUST_NOT_IMPORT = {
    "icm_client": {"icm_server", "icm_annealer", "icm_lab", *HEAVY},
    "icm_server": {"icm_annealer", "icm_lab"},
    "icm_annealer": {"icm_server", "icm_lab", *HEAVY},
    "icm_trainer": {"icm_lab"},
    "icm_lab": {"icm_server"},
}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_what_its_package_must_not(package: str) -> None:
    assert not offenders(modules_of(package), lambda module: packages_imported_by(module) & MUST_NOT_IMPORT[package])


@pytest.mark.parametrize("package", ["icm_client", "icm_server"])
def test_client_and_server_share_the_contract_and_text(package: str) -> None:
    """What both sides import imports nothing else of the project; and the server takes nothing else of the client."""
    shared = {module for module in modules_of("icm_client") if room_of(module) in ("contract", "text")}
    rest = set(modules_of("icm_client")) - shared
    bound = shared if package == "icm_client" else modules_of(package)
    assert not offenders(bound, lambda module: modules_imported_by(module) & rest)


def test_only_commands_their_python_form_and_the_papers_figures_know_the_trainer() -> None:
    knowing = ("icm_trainer", "icm_annealer.cli.", "icm_annealer.api.extend", "icm_lab.reproduce.", "icm_lab.cli")
    others = [module for module in FILES if not module.startswith(knowing)]
    assert not [module for module in others if "icm_trainer" in packages_imported_by(module)]


def test_the_trainer_takes_models_and_tokens_from_the_server() -> None:
    """How a text becomes tokens must not be said twice; all else of the server is reached over HTTP."""
    allowed = {f"icm_server.engines.{name}" for name in ("base", "hf_tokenizer", "model_store")}
    for module in modules_of("icm_trainer"):
        assert {name for name in modules_imported_by(module) if name.startswith("icm_server")} <= allowed


def test_one_module_imports_vllm() -> None:
    found = {module for module in modules_of("icm_server") if "vllm" in packages_imported_by(module)}
    assert found == {"icm_server.engines.vllm"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_import_cycles(package: str) -> None:
    graph = {module: modules_imported_by(module) - {module} for module in modules_of(package)}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


ROOMS = {
    "icm_client": ["text", "contract", "http", "openai_compat", "", "adapters"],
    "icm_server": [
        *("", "auth", "sharing", "adapters", "engines", "tokens", "read_cache", "stats", "scheduling", "lifecycle"),
        *("pool", "monitoring", "middleware", "http", "transport", "cli"),
    ],
    "icm_annealer": [
        *(
            "core",
            "rules",
            "sources",
            "data",
            "scoring",
            "scorers",
            "console",
            "search",
            "searches",
            "runs.schema",
            "runs",
        ),
        *(
            "evaluation",
            "plots",
            "labelling",
            "reporting",
            "builders",
            "export",
            "extending",
            "extending.jobs",
            "reviewing",
            "tracking",
            "api",
        ),
        *(
            "benchmarks",
            "benchmarks.baselines",
            "benchmarks.searches",
            "sweeping",
            "cli.shared",
            "cli.large",
            "cli",
            "",
        ),
    ],
    "icm_trainer": ["models", "learning", "sft", "rm", "rl", "relabel", "", "cli"],
    "icm_lab": ["reproduce", ""],
}
"""The folders of each package, "" for itself, so that each imports only from those before it."""
MAX_MODULES = 16


def room_of(module: str) -> str:
    """The folder that a module lies in, below its package."""
    path = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
    return ".".join(path[1:])


def test_a_room_of_every_folder_is_known() -> None:
    assert {package: {room_of(module) for module in modules_of(package)} for package in PACKAGES} == {
        package: set(rooms) for package, rooms in ROOMS.items()
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_import_only_from_rooms_before_them(package: str) -> None:
    place = {module: ROOMS[package].index(room_of(module)) for module in modules_of(package)}

    def later(module: str) -> set[str]:
        return {name for name in modules_imported_by(module) & set(place) if place[name] > place[module]}

    assert not offenders(place, later)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_is_a_hall(package: str) -> None:
    sizes = Counter(room_of(module) for module in modules_of(package) if FILES[module].name != "__init__.py")
    assert max(sizes.values()) <= MAX_MODULES


def test_unit_tests_stand_in_the_rooms_of_what_they_test() -> None:
    for package, rooms in ROOMS.items():
        tests = ROOT / "tests/unit" / package.removeprefix("icm_")
        folders = {".".join(path.parent.relative_to(tests).parts) for path in tests.rglob("test_*.py")}
        assert folders <= set(rooms)


@pytest.mark.slow
def test_the_command_line_of_the_annealer_loads_nothing_heavy() -> None:
    commands = "icm_annealer.cli.app, icm_trainer.cli.app, icm_lab.cli"
    program = f"import sys, {commands}; print(*sorted({LATE!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == []
