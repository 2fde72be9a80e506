"""Winograd's algorithm for 3 x 3 convolutions: 16 outputs with 36 multiplications instead of 144.

It is F(4 x 4, 3 x 3) of Lavin and Gray (2016), "Fast Algorithms for Convolutional Neural Networks". On a CPU, XLA's
convolution is as fast as its matrix product, so fewer multiplications are what makes a training step faster there. On a
GPU, cuDNN chooses such an algorithm by itself.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

OUTPUTS = 4
"""Rows and columns of outputs per tile."""

TILE = OUTPUTS + 2
"""Rows and columns of inputs per tile; neighbouring tiles overlap by two."""

# fmt: off
# The matrices of the paper for the points 0, 1, -1, 2, -2 and infinity.
INPUT = np.array([
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
], np.float32)
KERNEL = np.array([
    [1/4, 0, 0], [-1/6, -1/6, -1/6], [-1/6, 1/6, -1/6], [1/24, 1/12, 1/6], [1/24, -1/12, 1/6], [0, 0, 1],
], np.float32)
OUTPUT = np.array([
    [1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1],
], np.float32)
# fmt: on


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with stride 1 and zero padding, as `jax.lax.conv_general_dilated` does with padding "SAME".

    The result differs from it by rounding only: in float32 by a few millionths of the largest output.

    Args:
        x: Float32 [n, height, width, inputs].
        kernel: Float32 [3, 3, inputs, outputs].

    Returns:
        Float32 [n, height, width, outputs].
    """
    n, height, width, inputs = x.shape
    outputs = kernel.shape[-1]
    rows, columns = -(-height // OUTPUTS), -(-width // OUTPUTS)
    padding = (0, 0), (1, rows * OUTPUTS + 1 - height), (1, columns * OUTPUTS + 1 - width), (0, 0)
    padded = jnp.pad(x, padding)
    by_row = jnp.stack(_combine(INPUT, _strided(padded, rows, axis=1)))
    tiles = jnp.stack(_combine(INPUT, _strided(by_row, columns, axis=3)))
    kernels = jnp.einsum("ai,bj,ijco->baco", KERNEL, KERNEL, kernel)
    # One product for each of the TILE x TILE points: [points, n * rows * columns, inputs] x [points, inputs, outputs].
    products = jnp.einsum(
        "ptc,pco->pto",
        tiles.reshape(TILE**2, n * rows * columns, inputs),
        kernels.reshape(TILE**2, inputs, outputs),
    ).reshape(TILE, TILE, n, rows, columns, outputs)
    over_columns = jnp.stack(_combine(OUTPUT, list(products)))
    over_rows = jnp.stack(_combine(OUTPUT, [over_columns[:, row] for row in range(TILE)]))
    blocks = over_rows.transpose(2, 3, 0, 4, 1, 5).reshape(n, rows * OUTPUTS, columns * OUTPUTS, outputs)
    return blocks[:, :height, :width]


def _strided(x: jax.Array, tiles: int, axis: int) -> list[jax.Array]:
    """Return for each place in a tile the slice of `x` that holds it for all `tiles` along `axis`."""
    return [jax.lax.slice_in_dim(x, start, start + (tiles - 1) * OUTPUTS + 1, OUTPUTS, axis) for start in range(TILE)]


def _combine(matrix: NDArray[np.float32], parts: Sequence[jax.Array]) -> list[Any]:
    """Return the linear combinations of `parts` that the rows of `matrix` give.

    As sums of few terms these are faster than a product with a matrix that is mostly zeros, ones and twos.
    """
    return [sum(part * factor for part, factor in zip(parts, row, strict=True) if factor) for row in matrix]
