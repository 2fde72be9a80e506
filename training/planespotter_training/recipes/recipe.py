"""What a recipe says."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """All that decides how a network is trained. Unknown names are refused, values are checked.

    A setting that is added later needs a default that leaves earlier runs as they were: they are read again at export.
    """

    height: int
    """Height in pixels to which photos are brought."""
    width: int
    """Width in pixels to which photos are brought; aircraft are long, so wider than high."""
    channels: float
    """Share of the channels of VGG16, over 0; 1 is the full network."""
    epochs: int
    """How often as many photos are seen as the training set has."""
    batch_size: int
    """Photos in one step."""
    learning_rate: float
    """Largest learning rate of AdamW, reached after the warm-up and lowered to 0 along a cosine."""
    warmup_epochs: float
    """Epochs during which the learning rate rises from 0."""
    weight_decay: float
    """AdamW's weight decay, on the kernels only."""
    dropout: float
    """Share of the features that are dropped before the heads."""
    source_balance: float
    """How sources are mixed: each is drawn in proportion to (its number of photos) ** source_balance."""
    lone_weight: float
    """How much a photo counts for the constructor head if its source shows one constructor only, others about 1."""
    min_photos: int
    """Fewest training photos with which a family or model is a leaf of its own."""
    shift: float
    """Augmentation: largest shift, as a share of the size."""
    zoom: float
    """Augmentation: largest change of scale, up or down, as a share."""
    light: float
    """Augmentation: largest change of brightness and of contrast, as a share."""
    colour: float = 0.0
    """Augmentation: largest share of each colour channel that a random mixture of all three replaces."""
    seed: int = 0
    """Decides the first weights, the order of photos and all augmentation."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value}")
        if min(self.height, self.width) < 32:
            raise ValueError("height and width must be at least 32 pixels: the network halves them five times")
        for name in ("channels", "epochs", "batch_size", "learning_rate", "min_photos"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("warmup_epochs", "weight_decay", "source_balance", "lone_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below 0, but is {getattr(self, name)}")
        for name in ("dropout", "shift", "zoom", "light", "colour"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 up to below 1, not {getattr(self, name)}")
