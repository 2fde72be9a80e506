"""Benchmark engines: compared with each other and with other frameworks, on the same network, interleaved."""

import statistics
from collections.abc import Callable
from typing import Any

from scripts.bench import cascade, networks, other_frameworks, peak_flops
from scripts.bench.interleave import speedup, time_interleaved
from scripts.bench.report import Section

from planespotter_models import Bundle, Engine, EngineChoice, load_engine

BATCHES = (1, 8, 32)
COMPILED = (1, 4, 8, 16, 32)  # the second stage of the cascade gets half of the photos
JAX, FLOAT32, INT8 = "JAX", "OpenVINO float32", "OpenVINO int8"
PLAIN_OPENVINO = {FLOAT32: "plain OpenVINO float32", INT8: "plain OpenVINO int8"}
ENGINES = {JAX: EngineChoice.JAX, FLOAT32: EngineChoice.OPENVINO_FLOAT32, INT8: EngineChoice.OPENVINO}


def measure(model: Bundle, seconds: float) -> dict[str, Any]:
    """Measure all engines on `model`.

    Args:
        model: The bundle.
        seconds: Approximate duration.

    Returns:
        Throughput and speedups by batch size, the share of the processor's peak, and the comparison with a cascade.
    """
    photos = networks.pixels(model, 32)
    choices = {name: choice for name, choice in ENGINES.items() if name != INT8 or model.int8_calibration is not None}
    engines = {name: load_engine(model, COMPILED, choice) for name, choice in choices.items()}
    frameworks: dict[str, other_frameworks.Run] = {}
    missing = []
    if other_frameworks.is_supported(model):
        for name, make in (("PyTorch", other_frameworks.pytorch), ("ONNX Runtime", other_frameworks.onnx_runtime)):
            if other_frameworks.installed(name):
                frameworks[name] = make(model)
            else:
                missing.append(name)
    graphs = {PLAIN_OPENVINO[FLOAT32]: other_frameworks.openvino_graph(model)}
    if INT8 in engines:
        graphs[PLAIN_OPENVINO[INT8]] = other_frameworks.openvino_graph(model, photos)
    results: dict[str, Any] = {
        "description": f"{model.width} x {model.height} pixels, {networks.operations(model) / 1e9:.2f} GFLOP per photo",
        "missing": missing,
        "nncf": other_frameworks.installed("NNCF"),
        "operations": networks.operations(model),
        "batches": {},
    }
    for size in BATCHES:
        batch = photos[:size]
        runs: dict[str, other_frameworks.Run] = {name: engine.run for name, engine in engines.items()} | frameworks
        runs |= {name: other_frameworks.openvino(graph, size) for name, graph in graphs.items()}
        for run in runs.values():
            run(batch)
        functions = {name: _with(run, batch) for name, run in runs.items()}
        wall, cpu = time_interleaved(functions, seconds / len(BATCHES) / 2)
        results["batches"][size] = {
            name: {
                "rate": size / statistics.median(wall[name]),
                "cpu": statistics.median(cpu[name]) / size,
                "speedup": speedup(wall, name, JAX),
                "speedup_cpu": speedup(cpu, name, JAX),
            }
            for name in runs
        }
        for name in engines.keys() & PLAIN_OPENVINO.keys():
            results["batches"][size][name]["speedup_over_plain"] = speedup(wall, name, PLAIN_OPENVINO[name])
    results["peak"] = _share_of_peak(engines, photos[:8], networks.operations(model), seconds / 6)
    results["cascade"] = {name: cascade.measure(engine, model, photos, seconds / 9) for name, engine in engines.items()}
    return results


def _with(run: other_frameworks.Run, batch: Any) -> Callable[[], object]:
    return lambda: run(batch)


def _share_of_peak(engines: dict[str, Engine], photos: Any, operations: float, seconds: float) -> dict[str, Any]:
    """Return operations per second of matrix products, and the share of that peak that each engine reaches."""
    products = {"float32": peak_flops.float32_product(), "int8": peak_flops.int8_product()}
    functions: dict[str, Callable[[], object]] = {**products}
    functions |= {name: _with(engine.run, photos) for name, engine in engines.items()}
    for warm_up in functions.values():
        warm_up()
    wall, _ = time_interleaved(functions, seconds)
    # The peak is the best run of the product, so it is compared with the best run of the network.
    rates = {name: peak_flops.OPERATIONS / min(wall[name]) for name in products}
    rates |= {name: operations * len(photos) / min(wall[name]) for name in engines}
    return {
        "tera_operations": {name: rates[name] / 1e12 for name in products},
        "share": {name: rates[name] / rates["int8" if name == INT8 else "float32"] for name in engines},
    }


def show(title: str, results: dict[str, Any]) -> Section:
    """Return the results as a table."""
    sizes = list(results["batches"])
    names = list(results["batches"][sizes[0]])
    section = Section(
        f"{title}: {results['description']}",
        ["photos/s (speedup over JAX)", *(f"batches of {size}" for size in sizes), "of peak"],
        [],
    )
    for name in names:
        cells = []
        for size in sizes:
            result = results["batches"][size][name]
            cells.append(f"{result['rate']:,.1f} ({result['speedup']:.2f})")
        share = results["peak"]["share"].get(name)
        section.rows.append([name, *cells, "" if share is None else f"{share:.0%}"])
    large_batches = results["batches"][sizes[-1]]
    section.bars = {name: large_batches[name]["speedup"] for name in names}
    section.bars_title = f"Speedup over JAX, batches of {sizes[-1]}"
    tera = results["peak"]["tera_operations"]
    section.notes.append(
        f"Peak: matrix products in the same run, {tera['float32']:.2f} TFLOP/s in float32 and {tera['int8']:.2f} "
        "TOP/s in int8."
    )
    for name in PLAIN_OPENVINO:
        if name in names:
            each = ", ".join(f"{results['batches'][size][name]['speedup_over_plain']:.2f}" for size in sizes)
            section.notes.append(f"{name}, speedup over plain OpenVINO: {each}.")
    for name in names[1:]:
        if name in ENGINES:
            each = ", ".join(f"{results['batches'][size][name]['speedup_cpu']:.2f}" for size in sizes)
            section.notes.append(f"{name}, speedup over JAX by CPU time, which depends less on other load: {each}.")
    if not results["nncf"]:
        section.notes.append("NNCF is not installed: plain OpenVINO int8 runs the graph of our engine.")
    if results["missing"]:
        section.notes.append(f"Not installed, so not compared: {', '.join(results['missing'])}.")
    each = ", ".join(f"{name} {value['wall']:.2f} ({value['cpu']:.2f})" for name, value in results["cascade"].items())
    section.notes.append(f"One multi-head pass, speedup over a cascade of two networks (by CPU time): {each}.")
    return section


def headlines(results: dict[str, Any]) -> dict[str, float]:
    """Return the metrics to track from run to run."""
    metrics = {}
    for size, by_name in results["batches"].items():
        for name, result in by_name.items():
            if name in ENGINES and name != JAX:
                metrics[f"{name} / JAX, batches of {size}"] = result["speedup"]
                metrics[f"{name} / plain OpenVINO, batches of {size}"] = result["speedup_over_plain"]
    for name, value in results["cascade"].items():
        metrics[f"one pass / cascade, {name}"] = value["wall"]
    return metrics
