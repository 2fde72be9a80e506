"""Recipe: the settings of one training configuration, with their meanings and valid ranges."""

import inspect
import math
import re
from dataclasses import dataclass, fields

from planespotter_models.architecture import POOLINGS

OPTIMIZERS = ("adamw", "rmsprop")
SCHEDULES = ("cosine", "constant")
FILLS = ("mean", "nearest")
BASELINE_HEADS = ("off", "stop-gradient", "joint")
PRECISIONS = ("auto", "bf16", "f32")
PREPROCESSINGS = ("bgr-mean", "rgb-255")

LAYERS = tuple(f"block{block}_conv{conv}" for block, n in enumerate((2, 2, 3, 3, 3), 1) for conv in range(1, n + 1))
"""The convolutions of VGG16, from input to heads."""

CHOICES = {
    "pooling": POOLINGS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "fill": FILLS,
    "baseline_head": BASELINE_HEADS,
    "precision": PRECISIONS,
    "preprocessing": PREPROCESSINGS,
    "train_from": (*LAYERS, "heads"),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained. Values are validated.

    A setting that is added later needs a default that leaves earlier runs unchanged: export reads them again.
    """

    height: int
    """Input height in pixels."""
    width: int
    """Input width in pixels; aircraft are long, so more than the height."""
    channel_multiplier: float
    """Factor on the channels of VGG16, above 0; 1 is the full network."""
    epochs: int
    """Number of epochs, each of as many photos as the training split has, or of `steps_per_epoch` steps."""
    batch_size: int
    """Photos per step, over all devices."""
    learning_rate: float
    """Peak learning rate, reached at the end of the warmup."""
    warmup_epochs: float
    """Epochs of linear warmup from 0."""
    weight_decay: float
    """AdamW's decoupled weight decay, on kernels only."""
    dropout: float
    """Dropout rate before the heads."""
    source_balance: float
    """Sampling of sources: proportional to (number of photos) ** source_balance; 0 samples all sources equally."""
    single_constructor_weight: float
    """Loss weight in the constructor head of photos whose source shows one constructor only; others weigh about 1."""
    min_photos: int
    """Minimum training photos for a family or model to become a leaf of the label tree."""
    shift: float
    """Augmentation: maximum translation, as a share of the size."""
    zoom: float
    """Augmentation: maximum change of scale, up or down, as a share."""
    brightness_contrast: float
    """Augmentation: maximum change of brightness and of contrast, as a share."""
    channel_mixing: float = 0.0
    """Augmentation: maximum share of each colour channel that is replaced by a random mixture of all three."""
    seed: int = 0
    """Random seed of initial weights, sampling order and augmentation."""

    # Architecture.
    batch_norm: bool = True
    """Batch normalisation after each convolution, folded into it at export. Pretrained VGG16 has none."""
    pretrained: bool = False
    """Start from the ImageNet weights of VGG16, unless --weights or --init names others."""
    pooling: str = "average"
    """Global pooling of the feature maps: average, average+max (concatenated) or flatten."""
    hidden_units: int = 0
    """Units of a dense layer before the heads; 0 for none."""
    flip_tta: bool = False
    """Test-time augmentation: average the probabilities of the photo and its mirror image; doubles the inference time.
    """
    baseline_head: str = "off"
    """Baseline: a flat softmax over all leaves, trained alongside and never exported. Its gradient stops before the
    features (stop-gradient) or trains them too (joint); off trains none."""
    other_output: bool = False
    """One more output of the constructor head, for what is outside the label tree, trained with photos of other
    constructors and pictures without an aircraft (outlier exposure). Without it, these are in the test split only."""
    preprocessing: str = "bgr-mean"
    """Pixels that the first convolution takes: BGR from 0 to 255 less the mean of ImageNet (bgr-mean), as the ImageNet
    weights expect, or RGB from 0 to 1 (rgb-255), as the original project fed them: to compare, never exported."""
    precision: str = "auto"
    """Compute type of convolutions in training: bf16, f32, or auto: bf16 except on a CPU. Weights stay float32."""

    # Optimisation.
    optimizer: str = "adamw"
    """adamw, or rmsprop with the defaults of Keras, without weight decay."""
    schedule: str = "cosine"
    """Learning rate after the warmup: cosine decay to 0, or constant."""
    steps_per_epoch: int = 0
    """Steps per epoch; 0 for one pass over the training photos."""
    l2: float = 0.0
    """L2 penalty on the dense layers, added to the loss."""
    label_smoothing: float = 0.0
    """Share of the loss that is uniform over all classes (label smoothing)."""
    distillation_weight: float = 0.7
    """With a teacher (--teacher): share of the loss that compares with its predictions instead of the labels."""
    distillation_temperature: float = 2.0
    """With a teacher: softening of both predictions before they are compared."""
    train_from: str = LAYERS[0]
    """First layer that is trained; those before it are frozen. "heads" freezes all convolutions."""
    frozen_views: int = 0
    """Augmented views of each photo whose features before `train_from` are kept on disk, and drawn again and again;
    0: every draw is augmented and computed from pixels. Needs frozen layers."""
    layer_decay: float = 1.0
    """Layer-wise learning rate decay: the rate of a block as a share of that of the next block; the heads' share is 1.
    """
    unfreeze_epochs: float = 0.0
    """Gradual unfreezing: heads train first, then one more block, last to first, at this interval in epochs; 0: off."""
    ema_decay: float = 0.0
    """Decay per step of the exponential moving average of weights and batch statistics that is validated and exported;
    0: the weights themselves."""
    type_balance: float = 1.0
    """Sampling of types within a source: proportional to (number of photos) ** type_balance."""
    keep_types: bool = False
    """Keep what the network of --init knows: its label tree, to which the catalog adds types, its `other` output, and
    the weights of each output of its heads. Height, width, channels and pooling are those of a bundle."""
    exact_labels: bool = False
    """Use photos of the constructors only if their label names a model."""

    # More augmentation.
    flip: bool = True
    """Augmentation: random horizontal flip."""
    rotation: float = 0.0
    """Augmentation: maximum rotation in degrees, either way."""
    shear: float = 0.0
    """Augmentation: maximum shear, as the tangent of its angle, either way."""
    randaugment_ops: int = 0
    """RandAugment: operations per photo, chosen at random out of ten."""
    randaugment_magnitude: float = 0.3
    """RandAugment: magnitude from 0 to 1."""
    fill: str = "mean"
    """Fill of areas outside the photo: mean colour, or nearest pixel."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, str):
                if value not in CHOICES[name]:
                    raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, not {value!r}")
            elif not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value}")
        if min(self.height, self.width) < 32:
            raise ValueError("height and width must be at least 32 pixels: the network halves them five times")
        for name in ABOVE_0:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be below 0, but is {getattr(self, name)}")
        for name in BELOW_1:
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 up to below 1, not {getattr(self, name)}")
        for name, maximum in MAXIMA.items():
            if getattr(self, name) > maximum:
                raise ValueError(f"{name} must not be above {maximum}, but is {getattr(self, name)}")
        if self.frozen_views and self.train_from == LAYERS[0]:
            raise ValueError(f"frozen_views is {self.frozen_views}, but train_from={self.train_from} freezes no layer")


ABOVE_0 = (
    "distillation_temperature",
    "channel_multiplier",
    "epochs",
    "batch_size",
    "learning_rate",
    "min_photos",
    "layer_decay",
)
NOT_NEGATIVE = (
    "warmup_epochs",
    "weight_decay",
    "source_balance",
    "single_constructor_weight",
    "type_balance",
    "hidden_units",
    "steps_per_epoch",
    "l2",
    "unfreeze_epochs",
    "rotation",
    "shear",
    "randaugment_ops",
    "randaugment_magnitude",
    "frozen_views",
    "distillation_weight",
)
BELOW_1 = ("dropout", "shift", "zoom", "brightness_contrast", "channel_mixing", "label_smoothing", "ema_decay")
MAXIMA = {
    "layer_decay": 1,
    "randaugment_magnitude": 1,
    "distillation_weight": 1,
    "rotation": 180,
    "randaugment_ops": 10,
    "frozen_views": 254,
}


def descriptions() -> dict[str, str]:
    """Return the meaning of each setting by name: the string below it in this file."""
    source = inspect.getsource(Recipe)
    texts = dict(re.findall(r'^    (\w+): \w+[^\n]*\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL))
    return {field.name: " ".join(texts[field.name].split()) for field in fields(Recipe)}
