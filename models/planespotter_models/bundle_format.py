"""The bundle: a folder that holds a trained network and all that is needed to serve it.

    bundle.json          label tree, input size, calibration, metrics, where it comes from, sha256 of every file
                         and of itself
    model.stablehlo      jax.export of the whole network: weights and uint8 [n, height, width, 3] in,
                         log-probabilities [n, classes] per head out; for CPU and CUDA; any n
    weights.safetensors  the weights, by name; kernels may be in 8 bits, each with its scales (see eight_bits.py)
    explain.stablehlo    optional: weights, one uint8 photo [1, height, width, 3] and the int32 number of a leaf [1] in,
                         uint8 [1, rows, columns] out, which parts of the photo speak for the leaf

bundle.json also says how the layers follow each other, for engines that build the network from its weights, and may
hold the ranges with which it computes in 8 bits.

Reading checks all of it. A bundle holds no code: nothing in it is run by Python, and the network may only calculate,
which is checked before it is compiled (see operations.py).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from planespotter_models.architecture import Int8, Layers
from planespotter_models.label_tree import LabelTree
from planespotter_models.prediction import Calibration, DecodeRule, Thresholds
from planespotter_models.weight_quantization import pack, unpack

Kind = TypeVar("Kind")
Number = TypeVar("Number", int, float)

FORMAT = 1
DESCRIPTION = "bundle.json"
NETWORK = "model.stablehlo"
WEIGHTS = "weights.safetensors"
EXPLAIN = "explain.stablehlo"


class BundleError(Exception):
    """A bundle that cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Metric:
    """A figure measured on photos that the network was not trained on; `source` is "" for all sources together."""

    source: str
    name: str
    value: float
    photos: int


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been read and checked.

    `network` is the serialised jax.export function, `weights` its first argument; both are what the engines take.
    `layers` is for those that build the network from its weights, None if that cannot be done, and `int8` for those
    that compute it in 8 bits, None if it was not prepared for that. `explain` is another serialised function, which
    tells where the network looked; None if there is none.
    """

    name: str
    version: str
    tree: LabelTree
    height: int
    width: int
    calibration: Calibration
    metrics: tuple[Metric, ...]
    trained_on: Mapping[str, Any]
    jax_version: str
    network: bytes = field(repr=False)
    weights: Mapping[str, NDArray[Any]] = field(repr=False)
    layers: Layers | None = None
    int8: Int8 | None = None
    explain: bytes | None = field(default=None, repr=False)


def write_bundle(bundle: Bundle, folder: Path, *, eight_bits: bool = False) -> None:
    """Write `bundle` to `folder`, which must not exist or be a bundle itself; with kernels in 8 bits if asked to.

    An old bundle is deleted only once the new one is in its place. Raises BundleError.
    """
    from safetensors.numpy import save

    weights = pack(bundle.weights) if eight_bits else dict(bundle.weights)
    files = {NETWORK: bundle.network, WEIGHTS: save(weights)}
    if bundle.explain is not None:
        files[EXPLAIN] = bundle.explain
    ours = {DESCRIPTION, NETWORK, WEIGHTS, EXPLAIN}
    strangers = {path.name for path in folder.iterdir()} - ours if folder.exists() else set()
    if strangers:
        raise BundleError(
            f"{folder} holds what is no part of a bundle ({sorted(strangers)[0]}), so it is left alone. "
            "Name another folder."
        )
    description = {
        "format": FORMAT,
        "name": bundle.name,
        "version": bundle.version,
        "input": {"height": bundle.height, "width": bundle.width, "pixels": "uint8 RGB, scaled to fit and centred"},
        "tree": bundle.tree.branches,
        "temperatures": bundle.calibration.temperatures,
        "thresholds": asdict(bundle.calibration.thresholds),
        "decode": bundle.calibration.decode.value,
        "metrics": [asdict(metric) for metric in bundle.metrics],
        "trained_on": bundle.trained_on,
        "jax": bundle.jax_version,
        "layers": None if bundle.layers is None else asdict(bundle.layers),
        "int8": None if bundle.int8 is None else asdict(bundle.int8),
        "files": {name: _sha256(content) for name, content in files.items()},
    }
    description["sha256"] = _sha256(_canonical(description))
    files[DESCRIPTION] = (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode()
    new, old = (folder.with_name(f".{folder.name}.{kind}.{os.getpid()}") for kind in ("new", "old"))
    try:
        new.mkdir(parents=True)
        for name, content in files.items():
            (new / name).write_bytes(content)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def read_bundle(folder: Path) -> Bundle:
    """Read and check the bundle in `folder`. Raises BundleError."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not (folder / DESCRIPTION).is_file():
        found = "is no folder" if not folder.is_dir() else f"holds no {DESCRIPTION}"
        raise BundleError(
            f"There is no bundle at {folder}: it {found}. `planespotter export RUN --out BUNDLE` makes one."
        )
    description = _read_description(folder)
    try:
        files = {str(name): _read_file(folder, str(name), sha256) for name, sha256 in description["files"].items()}
        return Bundle(
            name=_typed(description["name"], str),
            version=_typed(description["version"], str),
            tree=LabelTree(description["tree"]),
            height=_positive(_typed(description["input"]["height"], int)),
            width=_positive(_typed(description["input"]["width"], int)),
            calibration=_read_calibration(description),
            metrics=tuple(Metric(**metric) for metric in description["metrics"]),
            trained_on=dict(description["trained_on"]),
            jax_version=_typed(description["jax"], str),
            network=files[NETWORK],
            weights=unpack(load(files[WEIGHTS])),
            layers=_read_layers(description.get("layers")),
            int8=_read_int8(description.get("int8")),
            explain=files.get(EXPLAIN),
        )
    except (KeyError, TypeError, AttributeError, ValueError, SafetensorError) as error:
        raise BundleError(
            f"{folder / DESCRIPTION} lacks something or holds something of the wrong kind ({error}). "
            "Export the bundle again."
        ) from error


def _read_calibration(description: Mapping[str, Any]) -> Calibration:
    temperatures = {head: float(description["temperatures"][head]) for head in LabelTree(description["tree"]).heads}
    thresholds = {name: float(value) for name, value in description["thresholds"].items()}
    for temperature in temperatures.values():
        _positive(temperature)
    return Calibration(temperatures, Thresholds(**thresholds), DecodeRule(description["decode"]))


def _read_layers(layers: Mapping[str, Any] | None) -> Layers | None:
    return None if layers is None else Layers(layers["pooling"], layers["mirror"])


def _read_int8(int8: Mapping[str, Any] | None) -> Int8 | None:
    if int8 is None:
        return None
    ranges = {str(name): float(value) for name, value in int8["ranges"].items()}
    return Int8(ranges, _typed(int8["photos"], int), dict(int8["compared"]))


def _typed(value: Any, kind: type[Kind]) -> Kind:
    if type(value) is not kind:
        raise TypeError(f"{value!r} should be of the kind {kind.__name__}")
    return value


def _positive(value: Number) -> Number:
    if not value > 0:
        raise ValueError(f"{value!r} should be above 0")
    return value


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    try:
        description: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{path} cannot be read as JSON ({error}). Export the bundle again or copy it anew."
        ) from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else None
        raise BundleError(
            f"{path} has format {found!r}; this version of planespotter reads format {FORMAT}. Export the bundle again."
        )
    content = {key: value for key, value in description.items() if key != "sha256"}
    _compare(path, _sha256(_canonical(content)), description.get("sha256"))
    return description


def _read_file(folder: Path, name: str, sha256: str) -> bytes:
    if name != Path(name).name:
        raise BundleError(f"The bundle {folder} names a file outside itself: {name!r}. Do not use it.")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise BundleError(f"The bundle {folder} lacks its file {name} ({error.strerror}). Copy it anew.") from error
    _compare(folder / name, _sha256(content), sha256)
    return content


def _compare(path: Path, found: str, expected: object) -> None:
    if found != expected:
        raise BundleError(
            f"{path} is damaged or was changed: its sha256 is {found}, but should be {expected}. "
            "Copy the bundle anew or export it again."
        )


def _canonical(description: Mapping[str, Any]) -> bytes:
    return json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
