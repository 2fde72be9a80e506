"""The bundle: the door between training and serving.

What is served is what is evaluated: the same file format, the same decoding of photos, the same label tree, the same
engines and the same step from log-probabilities to an answer. Importing this pulls in NumPy and Pillow; JAX or
OpenVINO is loaded with the first engine, and Flax never.
"""

from planespotter_training.bundle.answer import (
    Answer,
    Calibration,
    DecodeRule,
    Level,
    Thresholds,
    answer,
    leaf_probabilities,
)
from planespotter_training.bundle.engine import (
    DEFAULT_BATCH_SIZES,
    Engine,
    EngineChoice,
    EngineMode,
    cores,
    load_engine,
)
from planespotter_training.bundle.format import Bundle, BundleError, Metric, read, write
from planespotter_training.bundle.layers import Int8, Layers
from planespotter_training.bundle.photo import DEFAULT_MAX_PIXELS, PhotoError, decode
from planespotter_training.bundle.tree import CONSTRUCTOR_HEAD, Label, LabelTree

__all__ = [
    "CONSTRUCTOR_HEAD",
    "DEFAULT_BATCH_SIZES",
    "DEFAULT_MAX_PIXELS",
    "Answer",
    "Bundle",
    "BundleError",
    "Calibration",
    "DecodeRule",
    "Engine",
    "EngineChoice",
    "EngineMode",
    "Int8",
    "Label",
    "LabelTree",
    "Layers",
    "Level",
    "Metric",
    "PhotoError",
    "Thresholds",
    "answer",
    "cores",
    "decode",
    "leaf_probabilities",
    "load_engine",
    "read",
    "write",
]
