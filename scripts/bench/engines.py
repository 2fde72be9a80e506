"""Engine against engine, and against other libraries by hand, on the same network, in turns."""

import statistics
from collections.abc import Callable
from typing import Any

from scripts.bench import cascade, networks, other_frameworks, peak_flops
from scripts.bench.interleave import in_turns, ratio
from scripts.bench.report import Section

from planespotter_models import Bundle, Engine, EngineChoice, load_engine

BATCHES = (1, 8, 32)
COMPILED = (1, 4, 8, 16, 32)  # a chain has half of the photos for one network
JAX, FLOAT32, INT8 = "JAX", "OpenVINO float32", "OpenVINO int8"
BY_HAND = {FLOAT32: "OpenVINO float32 by hand", INT8: "OpenVINO int8 by hand"}
ENGINES = {JAX: EngineChoice.JAX, FLOAT32: EngineChoice.OPENVINO_FLOAT32, INT8: EngineChoice.OPENVINO}


def measure(model: Bundle, seconds: float) -> dict[str, Any]:
    """Return rates and ratios of `model` by batch size, and the share of the machine's peak. Takes about `seconds`."""
    photos = networks.pixels(model, 32)
    choices = {name: choice for name, choice in ENGINES.items() if name != INT8 or model.int8_calibration is not None}
    engines = {name: load_engine(model, COMPILED, choice) for name, choice in choices.items()}
    others: dict[str, other_frameworks.Run] = {}
    missing = []
    if other_frameworks.plain(model):
        for name, make in (("PyTorch", other_frameworks.pytorch), ("ONNX Runtime", other_frameworks.onnx_runtime)):
            if other_frameworks.installed(name):
                others[name] = make(model)
            else:
                missing.append(name)
    graphs = {BY_HAND[FLOAT32]: other_frameworks.openvino_graph(model)}
    if INT8 in engines:
        graphs[BY_HAND[INT8]] = other_frameworks.openvino_graph(model, photos)
    found: dict[str, Any] = {
        "description": f"{model.width} x {model.height} pixels, {networks.operations(model) / 1e9:.2f} GFLOP a photo",
        "missing": missing,
        "nncf": other_frameworks.installed("NNCF"),
        "operations": networks.operations(model),
        "batches": {},
    }
    for size in BATCHES:
        batch = photos[:size]
        runs: dict[str, other_frameworks.Run] = {name: engine.run for name, engine in engines.items()} | others
        runs |= {name: other_frameworks.openvino(graph, size) for name, graph in graphs.items()}
        for run in runs.values():
            run(batch)
        wall, processor = in_turns({name: _with(run, batch) for name, run in runs.items()}, seconds / len(BATCHES) / 2)
        found["batches"][size] = {
            name: {
                "rate": size / statistics.median(wall[name]),
                "cpu": statistics.median(processor[name]) / size,
                "of_jax": ratio(wall, name, JAX),
                "of_jax_cpu": ratio(processor, name, JAX),
            }
            for name in runs
        }
        for name in engines.keys() & BY_HAND.keys():
            found["batches"][size][name]["of_hand"] = ratio(wall, name, BY_HAND[name])
    found["peak"] = _share_of_peak(engines, photos[:8], networks.operations(model), seconds / 6)
    found["chain"] = {name: cascade.measure(engine, model, photos, seconds / 9) for name, engine in engines.items()}
    return found


def _with(run: other_frameworks.Run, batch: Any) -> Callable[[], object]:
    return lambda: run(batch)


def _share_of_peak(engines: dict[str, Engine], photos: Any, operations: float, seconds: float) -> dict[str, Any]:
    """Return operations per second of matrix products, and which share of that each engine reaches."""
    products = {"float32": peak_flops.float32_product(), "int8": peak_flops.int8_product()}
    works: dict[str, Callable[[], object]] = {**products}
    works |= {name: _with(engine.run, photos) for name, engine in engines.items()}
    for work in works.values():
        work()
    wall, _ = in_turns(works, seconds)
    # A peak is what was reached in the best of moments, so the network's best is compared with it.
    rates = {name: peak_flops.OPERATIONS / min(wall[name]) for name in products}
    rates |= {name: operations * len(photos) / min(wall[name]) for name in engines}
    return {
        "tera_operations": {name: rates[name] / 1e12 for name in products},
        "share": {name: rates[name] / rates["int8" if name == INT8 else "float32"] for name in engines},
    }


def show(title: str, found: dict[str, Any]) -> Section:
    """Return the figures as a table."""
    sizes = list(found["batches"])
    names = list(found["batches"][sizes[0]])
    section = Section(
        f"{title}: {found['description']}",
        ["photos/s (times JAX)", *(f"batches of {size}" for size in sizes), "of the peak"],
        [],
    )
    for name in names:
        cells = []
        for size in sizes:
            one = found["batches"][size][name]
            cells.append(f"{one['rate']:,.1f} ({one['of_jax']:.2f})")
        share = found["peak"]["share"].get(name)
        section.rows.append([name, *cells, "" if share is None else f"{share:.0%}"])
    largest = found["batches"][sizes[-1]]
    section.bars = {name: largest[name]["of_jax"] for name in names}
    section.bars_title = f"Times as fast as JAX, batches of {sizes[-1]}"
    tera = found["peak"]["tera_operations"]
    section.notes.append(
        f"The peak: matrix products in the same run, {tera['float32']:.2f} TFLOP/s in float32 and {tera['int8']:.2f} "
        "tera-operations in 8 bits."
    )
    for name in BY_HAND:
        if name in names:
            each = ", ".join(f"{found['batches'][size][name]['of_hand']:.2f}" for size in sizes)
            section.notes.append(f"{name} over OpenVINO by hand: {each}.")
    for name in names[1:]:
        if name in ENGINES:
            each = ", ".join(f"{found['batches'][size][name]['of_jax_cpu']:.2f}" for size in sizes)
            section.notes.append(f"{name} over JAX by time of the processor, which others disturb less: {each}.")
    if not found["nncf"]:
        section.notes.append("NNCF is not installed: 8 bits by hand are our own graph, compiled and called by hand.")
    if found["missing"]:
        section.notes.append(f"Not installed, so not compared: {', '.join(found['missing'])}.")
    each = ", ".join(f"{name} {value['wall']:.2f} ({value['cpu']:.2f})" for name, value in found["chain"].items())
    section.notes.append(
        "One pass for all heads, over a network for the constructor and one for its types (by time of the processor): "
        f"{each}."
    )
    return section


def headlines(found: dict[str, Any]) -> dict[str, float]:
    """Return the figures to follow from run to run."""
    kept = {}
    for size, figures in found["batches"].items():
        for name, one in figures.items():
            if name in ENGINES and name != JAX:
                kept[f"{name} / JAX, batches of {size}"] = one["of_jax"]
                kept[f"{name} / by hand, batches of {size}"] = one["of_hand"]
    for name, value in found["chain"].items():
        kept[f"one pass / chain, {name}"] = value["wall"]
    return kept
