"""Run the exported function of a bundle under XLA."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.export
import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from planespotter_models.bundle_format import Bundle, BundleError
from planespotter_models.engines.base import PADDING, FixedSizes, Outputs, cores
from planespotter_models.stablehlo_allowlist import strange_operation


class JaxEngine(FixedSizes):
    """Runs the exported function, compiled ahead of time for each batch size; what was compiled is kept in `cache`."""

    def __init__(self, bundle: Bundle, batch_sizes: Sequence[int], cache: Path | None = None) -> None:
        platform = jax.default_backend()
        # An accelerator is hardly slower for a full batch than for a few photos: there, run once and pad.
        super().__init__(bundle, batch_sizes, padding=PADDING if platform == "cpu" else 1)
        keep_compiled(cache)
        try:
            exported = calculating(bundle, bundle.network)
            self._weights = jax.device_put(dict(bundle.weights))
            step = jax.jit(exported.call)
            self._compiled = {
                size: step.lower(self._weights, jax.ShapeDtypeStruct((size, *self._photo_shape), np.uint8)).compile()
                for size in self.batch_sizes
            }
        except BundleError:
            raise
        except Exception as error:  # jax raises many kinds for a function that does not fit this machine
            raise does_not_run(bundle, error) from error
        found = {head: list(output.shape[1:]) for head, output in self._compiled[self.batch_sizes[0]].out_info.items()}
        expected = {head: [classes] for head, classes in bundle.tree.heads.items()}
        if found != expected:
            raise BundleError(
                f"The network of the bundle {bundle.name} {bundle.version} has the heads {found}, but its label tree "
                f"has {expected}. Export it again."
            )
        device = f"CPU, {cores()} cores" if platform == "cpu" else f"{platform.upper()}, {jax.devices()[0].device_kind}"
        self.description = f"JAX on {device}"
        self.in_flight = 2  # one is made ready, on an accelerator also copied there, while another runs

    def _run(self, size: int, photos: NDArray[np.uint8]) -> Outputs:
        outputs: Outputs = jax.device_get(self._compiled[size](self._weights, photos))
        return outputs


def calculating(bundle: Bundle, function: bytes) -> jax.export.Exported:
    """Return an exported `function` of `bundle`, which only calculates. Raises BundleError if it would do more."""
    exported = jax.export.deserialize(bytearray(function))
    strange = strange_operation(exported.mlir_module_serialized)
    if strange is not None:
        raise BundleError(
            f"The network of the bundle {bundle.name} {bundle.version} would do more than calculate: it holds "
            f"the operation {strange}. Do not use it; `planespotter export` never writes such a thing."
        )
    return exported


def does_not_run(bundle: Bundle, error: Exception) -> BundleError:
    """Return what to say about a function of `bundle` that `error` says does not fit this machine."""
    return BundleError(
        f"The network of the bundle {bundle.name} {bundle.version}, exported with jax {bundle.jax_version}, "
        f"does not run under jax {jax.__version__} on {jax.default_backend()} ({type(error).__name__}). "
        "Export it again from its run with the jax that is installed here."
    )


def keep_compiled(folder: Path | None) -> None:
    """Keep what XLA compiles in `folder`, or in the user's own cache, so that the next start takes a second.

    What is read from there is run: so it belongs to the user alone. JAX_COMPILATION_CACHE_DIR comes first.
    """
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]  # by that variable, or set before
        return
    folder = folder or user_cache_path("planespotter") / "jax"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written to: then it is compiled each time
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
