"""Run the second function of a bundle, where it has one: which parts of a photo spoke for the answer."""

from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from planespotter_models.bundle_format import Bundle, BundleError
from planespotter_models.engines.jax import calculating, does_not_run, keep_compiled
from planespotter_models.label_tree import Label


class Explainer:
    """Runs it under XLA, a photo at a time. Takes a second for loading, and the weights once more in memory.

    Raises BundleError if the bundle has none, or one that does not fit.
    """

    def __init__(self, bundle: Bundle, cache: Path | None = None) -> None:
        if bundle.explain is None:
            raise BundleError(
                f"The bundle {bundle.name} {bundle.version} cannot explain its answers. Export it again from its run."
            )
        keep_compiled(cache)
        self._leaves = {label: index for index, label in enumerate(bundle.tree.all_leaves)}
        photo = jax.ShapeDtypeStruct((1, bundle.height, bundle.width, 3), np.uint8)
        leaf = jax.ShapeDtypeStruct((1,), np.int32)
        try:
            exported = calculating(bundle, bundle.explain)
            self._weights = jax.device_put(dict(bundle.weights))
            self._compiled = jax.jit(exported.call).lower(self._weights, photo, leaf).compile()
        except BundleError:
            raise
        except Exception as error:  # jax raises many kinds for a function that does not fit this machine
            raise does_not_run(bundle, error) from error
        found = self._compiled.out_info
        if len(getattr(found, "shape", ())) != 3 or found.shape[0] != 1 or found.dtype != np.uint8:
            raise BundleError(
                f"The function of the bundle {bundle.name} {bundle.version} that explains its answers gives {found} "
                "and not one map of bytes. Export it again."
            )

    def run(self, photo: NDArray[np.uint8], leaf: Label) -> NDArray[np.uint8]:
        """Return where the network looked in `photo` [height, width, 3] for `leaf`: uint8 [rows, columns].

        255 is where most speaks for that leaf, 0 where nothing does. The map covers what the network sees: the photo,
        scaled to fit and centred.
        """
        leaves = np.array([self._leaves[leaf]], np.int32)
        heat: NDArray[np.uint8] = jax.device_get(self._compiled(self._weights, photo[None], leaves))[0]
        return heat
