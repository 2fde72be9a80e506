"""Heat maps (Grad-CAM): run the second function of a bundle, which shows the parts of a photo behind a prediction."""

from pathlib import Path

import jax
import numpy as np
from numpy.typing import NDArray

from planespotter_models.bundle_format import Bundle, BundleError
from planespotter_models.engines.jax import deserialize, enable_compilation_cache, incompatible
from planespotter_models.label_tree import Label


class HeatMapExplainer:
    """Runs the heat map function with XLA, one photo at a time.

    Loading takes about a second, and memory for a second copy of the weights.

    Raises:
        BundleError: The bundle has no heat map function, or one that does not run on this machine.
    """

    def __init__(self, bundle: Bundle, cache: Path | None = None) -> None:
        if bundle.heat_map is None:
            raise BundleError(
                f"The bundle {bundle.name} {bundle.version} has no heat map function. Export it again from its run."
            )
        enable_compilation_cache(cache)
        self._leaves = {label: index for index, label in enumerate(bundle.tree.all_leaves)}
        photo = jax.ShapeDtypeStruct((1, bundle.height, bundle.width, 3), np.uint8)
        leaf = jax.ShapeDtypeStruct((1,), np.int32)
        try:
            exported = deserialize(bundle, bundle.heat_map)
            self._weights = jax.device_put(dict(bundle.weights))
            self._compiled = jax.jit(exported.call).lower(self._weights, photo, leaf).compile()
        except BundleError:
            raise
        except Exception as error:  # jax raises many types for a function that does not fit this machine
            raise incompatible(bundle, error) from error
        output = self._compiled.out_info
        if len(getattr(output, "shape", ())) != 3 or output.shape[0] != 1 or output.dtype != np.uint8:
            raise BundleError(
                f"The heat map function of the bundle {bundle.name} {bundle.version} returns {output}, not uint8 "
                "[1, rows, columns]. Export it again."
            )

    def run(self, photo: NDArray[np.uint8], leaf: Label) -> NDArray[np.uint8]:
        """Compute which parts of a photo speak for a leaf.

        Args:
            photo: uint8 [height, width, 3], as `decode_photo` returns it.
            leaf: A leaf of the label tree.

        Returns:
            uint8 [rows, columns]: 255 where the evidence for `leaf` is strongest, 0 where there is none. The map covers
            the input of the network: the photo, scaled to fit and centered.
        """
        leaves = np.array([self._leaves[leaf]], np.int32)
        heat_map: NDArray[np.uint8] = jax.device_get(self._compiled(self._weights, photo[None], leaves))[0]
        return heat_map
