"""Model bundles: the format that training writes and serving reads, and everything that both must do alike.

What is served is what is evaluated: the same file format, the same decoding of photos, the same label tree, the same
engines and the same step from log-probabilities to an answer. Importing this pulls in NumPy and Pillow; JAX or
OpenVINO is loaded with the first engine, and Flax never.
"""

from pathlib import Path

from planespotter_models.architecture import Int8, Layers
from planespotter_models.bundle_format import Bundle, BundleError, Metric, read_bundle, write_bundle
from planespotter_models.engines.base import (
    DEFAULT_BATCH_SIZES,
    Engine,
    EngineChoice,
    EngineMode,
    cores,
    load_engine,
)
from planespotter_models.label_tree import CONSTRUCTOR_HEAD, Label, LabelTree
from planespotter_models.prediction import (
    Answer,
    Calibration,
    DecodeRule,
    Level,
    Thresholds,
    decode_prediction,
    leaf_probabilities,
)
from planespotter_models.preprocess import DEFAULT_MAX_PIXELS, PhotoError, decode_photo

FOLDER = Path(__file__).parent
"""Folder of the bundled models: NAME/VERSION/bundle.json, each with a model card next to it."""

__all__ = [
    "CONSTRUCTOR_HEAD",
    "DEFAULT_BATCH_SIZES",
    "DEFAULT_MAX_PIXELS",
    "FOLDER",
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
    "cores",
    "decode_photo",
    "decode_prediction",
    "leaf_probabilities",
    "load_engine",
    "read_bundle",
    "write_bundle",
]
