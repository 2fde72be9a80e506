"""JAX engine: compile the exported function of a bundle with XLA, ahead of time."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.export
import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from planespotter_models.bundle_format import Bundle, BundleError
from planespotter_models.engines.base import MAX_PADDING, FixedBatchEngine, Outputs
from planespotter_models.engines.hardware import cores
from planespotter_models.stablehlo_allowlist import disallowed_operation


class JaxEngine(FixedBatchEngine):
    """Runs the exported function, compiled ahead of time for each batch size; `cache` is the compilation cache.

    Raises:
        BundleError: The function contains a disallowed operation, does not run on this machine, or its heads differ
            from the label tree.
    """

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int], cache: Path | None = None) -> None:
        platform = jax.default_backend()
        # On an accelerator a full batch takes hardly longer than a few photos: run one batch and pad it.
        super().__init__(bundle, batch_sizes, max_padding=MAX_PADDING if platform == "cpu" else 1)
        enable_compilation_cache(cache)
        try:
            exported = deserialize(bundle, bundle.network)
            self._weights = jax.device_put(dict(bundle.weights))
            step = jax.jit(exported.call)
            self._compiled = {
                size: step.lower(self._weights, jax.ShapeDtypeStruct((size, *self._photo_shape), np.uint8)).compile()
                for size in self.batch_sizes
            }
        except BundleError:
            raise
        except Exception as error:  # jax raises many types for a function that does not fit this machine
            raise incompatible(bundle, error) from error
        heads = {head: list(output.shape[1:]) for head, output in self._compiled[self.batch_sizes[0]].out_info.items()}
        expected = {head: [classes] for head, classes in bundle.tree.heads.items()}
        if heads != expected:
            raise BundleError(
                f"The network of the bundle {bundle.name} {bundle.version} has the heads {heads}, but its label tree "
                f"has {expected}. Export it again."
            )
        device = f"CPU, {cores()} cores" if platform == "cpu" else f"{platform.upper()}, {jax.devices()[0].device_kind}"
        self.description = f"JAX on {device}"
        self.in_flight = 2  # one batch is prepared, and copied to an accelerator, while another runs

    def _run(self, size: int, photos: NDArray[np.uint8]) -> Outputs:
        outputs: Outputs = jax.device_get(self._compiled[size](self._weights, photos))
        return outputs


def deserialize(bundle: Bundle, function: bytes) -> jax.export.Exported:
    """Deserialize an exported function of `bundle`, and check its operations against the allow-list.

    Raises:
        BundleError: The function contains a disallowed operation.
    """
    exported = jax.export.deserialize(bytearray(function))
    operation = disallowed_operation(exported.mlir_module_serialized)
    if operation is not None:
        raise BundleError(
            f"The network of the bundle {bundle.name} {bundle.version} contains the disallowed operation {operation}, "
            "which can do more than arithmetic. Do not use it; `planespotter export` never writes such a network."
        )
    return exported


def incompatible(bundle: Bundle, error: Exception) -> BundleError:
    """Return the BundleError for a function of `bundle` that fails to load or compile on this machine with `error`."""
    return BundleError(
        f"The network of the bundle {bundle.name} {bundle.version}, exported with jax {bundle.jax_version}, "
        f"does not run under jax {jax.__version__} on {jax.default_backend()} ({type(error).__name__}). "
        "Export it again from its run with the installed version of jax."
    )


def enable_compilation_cache(folder: Path | None) -> None:
    """Make XLA cache what it compiles in `folder`, or in the user's cache folder: the next start takes a second.

    JAX_COMPILATION_CACHE_DIR takes precedence. The folder is readable by its owner only, as its content is executed.
    """
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]  # set by that variable or by the caller
        return
    folder = folder or user_cache_path("planespotter") / "jax"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return  # read-only home: compile at every start
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
