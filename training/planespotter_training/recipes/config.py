"""What a recipe says."""

import math
import re
from dataclasses import dataclass, fields

from planespotter_models.architecture import POOLINGS

OPTIMISERS = ("adamw", "rmsprop")
SCHEDULES = ("cosine", "constant")
FILLS = ("mean", "nearest")
CONTROLS = ("off", "stopped", "joint")
PRECISIONS = ("auto", "bf16", "f32")

LAYERS = tuple(f"block{block}_conv{conv}" for block, n in enumerate((2, 2, 3, 3, 3), 1) for conv in range(1, n + 1))
"""The convolutions of VGG16, from the photo to the heads."""

CHOICES = {
    "pooling": POOLINGS,
    "optimiser": OPTIMISERS,
    "schedule": SCHEDULES,
    "fill": FILLS,
    "control": CONTROLS,
    "precision": PRECISIONS,
    "train_from": (*LAYERS, "heads"),
}


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
    """How often as many photos are seen as the training set has, or `steps_per_epoch` steps are taken."""
    batch_size: int
    """Photos in one step, over all devices."""
    learning_rate: float
    """Largest learning rate, reached after the warm-up."""
    warmup_epochs: float
    """Epochs during which the learning rate rises from 0."""
    weight_decay: float
    """AdamW's weight decay, on the kernels only."""
    dropout: float
    """Share of what goes into the heads that is dropped in training."""
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

    # The network.
    norm: bool = True
    """Batch normalisation after each convolution, folded away at export. Pretrained VGG16 has none."""
    pretrained: bool = False
    """Begin with the ImageNet weights of VGG16, unless --weights or --init names others."""
    pooling: str = "average"
    """How the picture's features become one vector: average, average+max (one after the other) or flatten."""
    hidden: int = 0
    """Units of a dense layer before the heads; 0 is none."""
    mirror: bool = False
    """Answer with the mean of the photo's and its mirror image's probabilities; takes twice the time."""
    control: str = "off"
    """A flat softmax over all leaves beside the heads, to compare with; never exported. Its gradient is stopped before
    the features (stopped) or trains them too (joint); off is none."""
    precision: str = "auto"
    """What convolutions compute with in training: bf16, f32, or auto: bf16 except on a CPU. Weights stay float32."""

    # How it learns.
    optimiser: str = "adamw"
    """adamw, or rmsprop with the settings of Keras, without weight decay."""
    schedule: str = "cosine"
    """After the warm-up the learning rate follows a cosine down to 0, or stays constant."""
    steps_per_epoch: int = 0
    """Steps that count as an epoch; 0: as many as show all training photos once."""
    l2: float = 0.0
    """Penalty on the sum of the squared weights of the dense layers, added to the loss."""
    label_smoothing: float = 0.0
    """Share of the loss that asks for equal probabilities of all classes instead of the right one."""
    train_from: str = LAYERS[0]
    """The first layer that is trained; those before it stay as they are. "heads" trains no convolution."""
    layer_decay: float = 1.0
    """The learning rate of a block of convolutions as a share of that of the block after it; the heads' share is 1."""
    unfreeze_epochs: float = 0.0
    """Heads train first, and every so many epochs one more block of convolutions, the last first; 0: all at once."""
    ema: float = 0.0
    """Decay for each step of the average of the weights (and of batch normalisation's statistics) that is validated and
    exported; 0: the weights themselves."""
    type_balance: float = 1.0
    """How types are mixed in a source: each is drawn in proportion to (its number of photos) ** type_balance."""

    # More augmentation.
    flip: bool = True
    """Augmentation: mirror half of the photos."""
    rotation: float = 0.0
    """Augmentation: largest rotation in degrees, to either side."""
    shear: float = 0.0
    """Augmentation: largest shear, as the tangent of its angle, to either side."""
    random_ops: int = 0
    """Augmentation as in RandAugment: how many of its ten operations change each photo, chosen at random."""
    random_strength: float = 0.3
    """How strong those are, from 0 to 1."""
    fill: str = "mean"
    """What comes in from outside the photo: its mean colour, or the nearest pixel."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str):
                if value not in CHOICES[name]:
                    raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, not {value!r}")
            elif not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value}")
        if min(self.height, self.width) < 32:
            raise ValueError("height and width must be at least 32 pixels: the network halves them five times")
        for name in ("channels", "epochs", "batch_size", "learning_rate", "min_photos", "layer_decay"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below 0, but is {getattr(self, name)}")
        for name in ("dropout", "shift", "zoom", "light", "colour", "label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 up to below 1, not {getattr(self, name)}")
        for name, highest in (("layer_decay", 1), ("random_strength", 1), ("rotation", 180), ("random_ops", 10)):
            if getattr(self, name) > highest:
                raise ValueError(f"{name} must not be above {highest}, but is {getattr(self, name)}")


NOT_NEGATIVE = (
    "warmup_epochs",
    "weight_decay",
    "source_balance",
    "lone_weight",
    "type_balance",
    "hidden",
    "steps_per_epoch",
    "l2",
    "unfreeze_epochs",
    "rotation",
    "shear",
    "random_ops",
    "random_strength",
)


def described() -> dict[str, str]:
    """Return what each setting means, by its name: the text below it in this file."""
    import inspect

    source = inspect.getsource(Recipe)
    found = dict(re.findall(r'^    (\w+): \w+[^\n]*\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL))
    return {field.name: " ".join(found[field.name].split()) for field in fields(Recipe)}
