"""What a bundle says of its network beside the exported function, for engines that build it from its weights.

Every network of this project is the trunk of VGG16 and what its recipe puts on top; the names and shapes of its weights
tell the rest. So a bundle needs no second file for another engine, and nothing in it that could be code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

POOLINGS = ("average", "average+max", "flatten")

# What the ImageNet weights expect: blue, green, red, less the mean of each, unscaled.
BGR_MEAN = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class Layers:
    """The parts of the network that its weights do not tell: as in the recipe."""

    pooling: str
    mirror: bool

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling is {self.pooling!r}, but should be one of {', '.join(POOLINGS)}")
        if type(self.mirror) is not bool:
            raise TypeError(f"mirror is {self.mirror!r}, but should be true or false")


@dataclass(frozen=True)
class Int8:
    """How the network computes in 8 bits."""

    ranges: Mapping[str, float]
    """By the name of a convolution, the largest value that what comes out of it takes; beyond it, it is cut off."""
    photos: int = 0
    """How many photos the ranges were chosen on."""
    compared: Mapping[str, Any] = field(default_factory=dict)
    """How it did on held-out photos beside the network in float32."""

    def __post_init__(self) -> None:
        for name, value in self.ranges.items():
            if not 0 < value < float("inf"):
                raise ValueError(f"the range of {name} is {value!r}, but should be above 0")
