"""Model bundle: the folder format that training writes and the server reads.

    bundle.json          label tree, input size, calibration, metrics, training record; the SHA-256 of every file and
                         of itself
    model.stablehlo      the whole network as jax.export bytes: weights and uint8 [n, height, width, 3] in,
                         log-probabilities [n, classes] per head out; for CPU and CUDA, any n
    weights.safetensors  the weights by name; kernels may be quantized to int8, each with its scales
                         (`weight_quantization.py`)
    heat_map.stablehlo   optional: weights, one uint8 photo [1, height, width, 3] and the int32 index of a leaf [1] in,
                         uint8 [1, rows, columns] out: which parts of the photo speak for the leaf

bundle.json also describes the architecture, for engines that rebuild the network from its weights, and may hold the
activation ranges for int8 inference.

`read_bundle` checks everything. A bundle contains no code: Python executes nothing in it, and the exported functions
are checked against an allow-list of operations before they are compiled (`stablehlo_allowlist.py`).
"""

import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from planespotter_models.architecture import Architecture, Int8Calibration
from planespotter_models.label_tree import LabelTree
from planespotter_models.prediction import Calibration, DecodeRule, Thresholds
from planespotter_models.weight_quantization import dequantize, quantize

T = TypeVar("T")
Number = TypeVar("Number", int, float)

FORMAT = 2
DESCRIPTION = "bundle.json"
NETWORK = "model.stablehlo"
WEIGHTS = "weights.safetensors"
HEAT_MAP = "heat_map.stablehlo"
# Far above any bundle's: the whole file is read into memory.
MAX_DESCRIPTION_BYTES = 64 * 1024 * 1024
MAX_FILE_BYTES = 4 * 1024 * 1024 * 1024


class BundleError(Exception):
    """A bundle is unusable; the text says why and what to do."""


class IncompleteBundleError(BundleError):
    """A file is missing, or is not the one that bundle.json names: the bundle may still be being copied."""


@dataclass(frozen=True)
class Metric:
    """A metric on held-out photos; `source` is "" for all sources together, `photos` the number it is based on."""

    source: str
    name: str
    value: float
    photos: int


@dataclass(frozen=True)
class Bundle:
    """A model bundle in memory.

    Attributes:
        name: Name of the model.
        version: Version of the model.
        tree: Label tree; gives the heads and their classes.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        calibration: Temperatures, thresholds and decode rule.
        metrics: Evaluation on held-out photos.
        training: Training record, as JSON: recipe and settings, photos and sources, training fingerprint.
        jax_version: Version of JAX that exported the functions.
        network: The network as jax.export bytes.
        weights: First argument of `network`, by name.
        architecture: For engines that rebuild the network from its weights; None if only `network` can be run.
        int8_calibration: For int8 inference; None if not calibrated.
        heat_map: The heat map function as jax.export bytes; None if there is none.
    """

    name: str
    version: str
    tree: LabelTree
    height: int
    width: int
    calibration: Calibration
    metrics: tuple[Metric, ...]
    training: Mapping[str, Any]
    jax_version: str
    network: bytes = field(repr=False)
    weights: Mapping[str, NDArray[Any]] = field(repr=False)
    architecture: Architecture | None = None
    int8_calibration: Int8Calibration | None = None
    heat_map: bytes | None = field(default=None, repr=False)


def write_bundle(bundle: Bundle, folder: Path, *, quantize_weights: bool = False) -> None:
    """Write `bundle` to `folder` atomically: a crash leaves either the old bundle or the new one.

    Args:
        bundle: What to write.
        folder: A folder that does not exist, or a bundle, which is replaced.
        quantize_weights: Store kernels as int8.

    Raises:
        BundleError: `folder` contains files that do not belong to a bundle.
    """
    from safetensors.numpy import save

    weights = quantize(bundle.weights) if quantize_weights else dict(bundle.weights)
    files = {NETWORK: bundle.network, WEIGHTS: save(weights)}
    if bundle.heat_map is not None:
        files[HEAT_MAP] = bundle.heat_map
    bundle_files = {DESCRIPTION, NETWORK, WEIGHTS, HEAT_MAP}
    foreign = {path.name for path in folder.iterdir()} - bundle_files if folder.exists() else set()
    if foreign:
        raise BundleError(
            f"{folder} is not replaced: {sorted(foreign)[0]} does not belong to a bundle. Choose another folder."
        )
    description = {
        "format": FORMAT,
        "name": bundle.name,
        "version": bundle.version,
        "input": {"height": bundle.height, "width": bundle.width, "pixels": "uint8 RGB, scaled to fit and centered"},
        "label_tree": bundle.tree.branches,
        "other_output": bundle.tree.other,
        "temperatures": bundle.calibration.temperatures,
        "thresholds": asdict(bundle.calibration.thresholds),
        "decode_rule": bundle.calibration.decode_rule.value,
        "metrics": [asdict(metric) for metric in bundle.metrics],
        "training": bundle.training,
        "jax_version": bundle.jax_version,
        "architecture": None if bundle.architecture is None else asdict(bundle.architecture),
        "int8_calibration": None if bundle.int8_calibration is None else asdict(bundle.int8_calibration),
        "files": {name: _sha256(content) for name, content in files.items()},
    }
    description["sha256"] = _sha256(_canonical(description))
    files[DESCRIPTION] = (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()
    _replace_folder(folder, files)


def _replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace `folder` by one with `files`, durably: written and fsynced next to it, then renamed into place.

    The old folder is deleted only when the new one is in place.
    """
    new, old = (folder.with_name(f".{folder.name}.{kind}.{os.getpid()}") for kind in ("new", "old"))
    try:
        new.mkdir(parents=True)
        for name, content in files.items():
            with (new / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        _fsync_folder(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _fsync_folder(folder.parent)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _fsync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder, and needs no fsync for a rename
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bundle(folder: Path) -> Bundle:
    """Read the bundle in `folder` and verify its format, every hash and every type.

    Raises:
        IncompleteBundleError: A file is missing, or damaged, or not copied completely.
        BundleError: There is no bundle, or it is invalid or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not (folder / DESCRIPTION).is_file():
        cause = "the folder does not exist" if not folder.is_dir() else f"the folder has no {DESCRIPTION}"
        raise BundleError(f"No bundle at {folder}: {cause}. Create one with `planespotter export RUN --out BUNDLE`.")
    description = _read_description(folder)
    try:
        files = {str(name): _read_file(folder, str(name), sha256) for name, sha256 in description["files"].items()}
        return Bundle(
            name=_typed(description["name"], str),
            version=_typed(description["version"], str),
            tree=LabelTree(description["label_tree"], _typed(description.get("other_output", False), bool)),
            height=_positive(_typed(description["input"]["height"], int)),
            width=_positive(_typed(description["input"]["width"], int)),
            calibration=_read_calibration(description),
            metrics=tuple(Metric(**metric) for metric in description["metrics"]),
            training=dict(description["training"]),
            jax_version=_typed(description["jax_version"], str),
            network=files[NETWORK],
            weights=_finite_weights(dequantize(load(files[WEIGHTS]))),
            architecture=_read_architecture(description.get("architecture")),
            int8_calibration=_read_int8_calibration(description.get("int8_calibration")),
            heat_map=files.get(HEAT_MAP),
        )
    except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
        raise BundleError(
            f"{folder / DESCRIPTION} is invalid: a field is missing or has the wrong type ({error}). "
            "Export the bundle again."
        ) from error


def _read_calibration(description: Mapping[str, Any]) -> Calibration:
    heads = LabelTree(description["label_tree"]).heads
    temperatures = {head: float(description["temperatures"][head]) for head in heads}
    thresholds = {name: float(value) for name, value in description["thresholds"].items()}
    for temperature in temperatures.values():
        _positive(temperature)
    return Calibration(temperatures, Thresholds(**thresholds), DecodeRule(description["decode_rule"]))


def _read_architecture(fields: Mapping[str, Any] | None) -> Architecture | None:
    return None if fields is None else Architecture(fields["pooling"], fields["flip_tta"])


def _read_int8_calibration(fields: Mapping[str, Any] | None) -> Int8Calibration | None:
    if fields is None:
        return None
    ranges = {str(name): float(value) for name, value in fields["activation_ranges"].items()}
    return Int8Calibration(ranges, _typed(fields["photos"], int), dict(fields["comparison"]))


def _typed(value: Any, type_: type[T]) -> T:
    if type(value) is not type_:
        raise TypeError(f"{value!r} must be of type {type_.__name__}")
    return value


def _positive(value: Number) -> Number:
    if not value > 0:
        raise ValueError(f"{value!r} must be above 0")
    return value


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        text = _read_regular_file(path, MAX_DESCRIPTION_BYTES).decode("utf-8")
        description: Any = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (OSError, ValueError) as error:
        raise IncompleteBundleError(
            f"{path} cannot be read as JSON ({error}). Copy the bundle again, or export it again."
        ) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        version = description.get("format") if isinstance(description, dict) else None
        raise BundleError(
            f"{path} has format {version!r}; this version of planespotter reads format {FORMAT}. "
            "Export the bundle again."
        )
    content = {key: value for key, value in description.items() if key != "sha256"}
    _verify_hash(path, _sha256(_canonical(content)), description.get("sha256"))
    return description


def _read_file(folder: Path, name: str, sha256: str) -> bytes:
    if name != Path(name).name:
        raise BundleError(f"The bundle {folder} refers to a file outside its folder: {name!r}. Do not use it.")
    try:
        content = _read_regular_file(folder / name, MAX_FILE_BYTES)
    except OSError as error:
        raise IncompleteBundleError(
            f"The bundle {folder} lacks {name} ({error.strerror}). Copy the bundle again."
        ) from error
    except ValueError as error:
        raise BundleError(f"{folder / name} is not a file of a bundle: {error}. Do not use it.") from error
    _verify_hash(folder / name, _sha256(content), sha256)
    return content


def _read_regular_file(path: Path, max_bytes: int) -> bytes:
    """Read a file that is neither a pipe nor a device, whose content may never end.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a regular file, or has more than `max_bytes` bytes.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > max_bytes:
            raise ValueError(f"it has {status.st_size:,} bytes; the limit is {max_bytes:,}")
        return file.read(max_bytes)


def _finite(text: str) -> float:
    """Parse a number of JSON; raise ValueError if it is not finite."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _finite_weights(weights: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    for name, array in weights.items():
        if array.dtype.kind not in "iub" and not np.isfinite(array).all():
            raise ValueError(f"the weights {name!r} have values that are not finite")
    return weights


def _verify_hash(path: Path, actual: str, expected: object) -> None:
    if actual != expected:
        raise IncompleteBundleError(
            f"{path} is damaged or was modified: its SHA-256 is {actual}, expected {expected}. "
            "Copy the bundle again, or export it again."
        )


def _canonical(description: Mapping[str, Any]) -> bytes:
    return json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
