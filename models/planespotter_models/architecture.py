"""Network architecture: what an engine needs, besides the weights, to rebuild the network of a bundle.

Every network is the trunk of VGG16 followed by what its recipe adds. The names and shapes of the weights give the rest,
so a bundle needs no second file for another engine, and contains nothing that could be code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

POOLINGS = ("average", "average+max", "flatten", "covariance")
"""How the last feature maps become one vector: global average, average and maximum, all cells, or second order.

"covariance" (second-order pooling: Lin et al. 2015, "Bilinear CNN Models for Fine-grained Visual Recognition") takes
the maps before the last max pooling. A learned 1 x 1 convolution reduces them to fewer channels; the upper triangle of
their covariance over all positions is kept, as signed square roots, next to the average of the maps. The average and
the roots are each divided by their root mean square.
"""

SQUARE_ROOT_EPSILON = 1e-3
"""The signed square root of a covariance c is c / sqrt(|c| + epsilon), whose slope at 0 is finite."""

RMS_EPSILON = 1e-6
"""Added to the mean square before its root is taken."""

BGR_MEAN = (103.939, 116.779, 123.68)
"""Mean of ImageNet, blue first. The ImageNet weights expect BGR pixels from 0 to 255 less this mean, unscaled."""


@dataclass(frozen=True)
class Architecture:
    """The part of the architecture that names and shapes of weights do not show.

    Attributes:
        pooling: One of `POOLINGS`.
        flip_tta: Whether the network averages the probabilities of the photo and its horizontal flip (test-time
            augmentation).

    Raises:
        ValueError: `pooling` is unknown.
        TypeError: `flip_tta` is not a bool.
    """

    pooling: str
    flip_tta: bool

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling is {self.pooling!r}, but must be one of {', '.join(POOLINGS)}")
        if type(self.flip_tta) is not bool:
            raise TypeError(f"flip_tta is {self.flip_tta!r}, but must be true or false")


@dataclass(frozen=True)
class Int8Calibration:
    """Calibration for int8 inference: the range of each convolution's output.

    Attributes:
        activation_ranges: Upper end of the range by convolution name, above 0. Larger activations saturate.
        photos: How many photos the ranges were calibrated on.
        comparison: Accuracy and agreement of int8 and float32 on held-out photos.

    Raises:
        ValueError: A range is not a positive finite number.
    """

    activation_ranges: Mapping[str, float]
    photos: int = 0
    comparison: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.activation_ranges.items():
            if not 0 < value < float("inf"):
                raise ValueError(f"the activation range of {name} is {value!r}, but must be above 0")
