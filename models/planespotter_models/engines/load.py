"""Load an engine: choose one for the bundle and this machine, compile it, and warm it up."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from planespotter_models.bundle_format import Bundle, BundleError
from planespotter_models.engines.base import Engine, EngineChoice, EngineMode
from planespotter_models.engines.hardware import has_accelerator, multiplies_int8

DEFAULT_BATCH_SIZES = (1, 2, 4, 8, 16, 32)


def load_engine(
    bundle: Bundle,
    batch_sizes: Sequence[int] = DEFAULT_BATCH_SIZES,
    engine: str = EngineChoice.AUTO,
    mode: str = EngineMode.LATENCY,
    threads: int = 0,
    cache: Path | None = None,
) -> Engine:
    """Compile the network of `bundle` for each batch size, and warm it up: run each size once.

    Args:
        bundle: The model.
        batch_sizes: Batch sizes to compile, each at least 1.
        engine: An EngineChoice.
        mode: An EngineMode.
        threads: Number of threads of OpenVINO; 0 for one per core.
        cache: Folder of JAX's compilation cache; None for the default in the user's cache folder.

    Raises:
        BundleError: The engine cannot run this bundle on this machine.
        ValueError: `engine` or `mode` is unknown, or a batch size is below 1.
    """
    chosen = choose_engine(bundle, engine)
    loaded: Engine
    if chosen == EngineChoice.JAX:
        from planespotter_models.engines.jax import JaxEngine

        loaded = JaxEngine(bundle, batch_sizes, cache)
    else:
        from planespotter_models.engines.openvino import OpenVinoEngine

        int8 = chosen == EngineChoice.OPENVINO and bundle.int8_calibration is not None
        if engine == EngineChoice.AUTO:
            int8 = int8 and multiplies_int8()
        loaded = OpenVinoEngine(bundle, batch_sizes, int8=int8, mode=EngineMode(mode), threads=threads)
    for size in loaded.batch_sizes:
        loaded.run(np.zeros((size, bundle.height, bundle.width, 3), np.uint8))
    return loaded


def choose_engine(bundle: Bundle, engine: str = EngineChoice.AUTO) -> EngineChoice:
    """Resolve "auto" to an engine, and check that the engine can run `bundle` on this machine.

    Raises:
        BundleError: OpenVINO is requested, but is not installed or cannot rebuild this network.
        ValueError: `engine` is unknown.
    """
    requested = EngineChoice(engine)
    installed = importlib.util.find_spec("openvino") is not None
    if requested == EngineChoice.AUTO:
        openvino_fits = installed and bundle.architecture is not None and not has_accelerator()
        return EngineChoice.OPENVINO if openvino_fits else EngineChoice.JAX
    if requested != EngineChoice.JAX:
        if not installed:
            raise BundleError(
                f"The engine {requested} needs OpenVINO, which is not installed. Install the server extra (pip "
                "install '.[server]' in a checkout of planespotter), or choose the engine jax."
            )
        if bundle.architecture is None:
            raise BundleError(
                f"The bundle {bundle.name} {bundle.version} does not describe its architecture, so only the engine jax "
                "can run it. Export it again from its run, or choose the engine jax."
            )
    return requested
