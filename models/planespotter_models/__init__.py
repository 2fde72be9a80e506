"""Model bundles: the format between training and serving, and the code that both share.

Training evaluates exactly what the server serves: the same file format, preprocessing, label tree, engines and decoding
of predictions. Importing this package loads NumPy and Pillow only; JAX or OpenVINO is loaded with the first engine.
"""

from pathlib import Path

from planespotter_models.architecture import POOLINGS, Architecture, Int8Calibration
from planespotter_models.bundle_format import (
    Bundle,
    BundleError,
    IncompleteBundleError,
    Metric,
    read_bundle,
    write_bundle,
)
from planespotter_models.engines.base import Engine, EngineChoice, EngineMode
from planespotter_models.engines.hardware import cores
from planespotter_models.engines.load import DEFAULT_BATCH_SIZES, load_engine
from planespotter_models.grouping import combine_evidence, log_evidence
from planespotter_models.label_tree import CONSTRUCTOR_HEAD, Label, LabelTree
from planespotter_models.prediction import (
    NETWORK,
    Calibration,
    Decisions,
    DecodeRule,
    Level,
    Prediction,
    PredictionOptions,
    Thresholds,
    decide,
    decode_leaves,
    decode_prediction,
    leaf_probabilities,
    leaf_table,
)
from planespotter_models.preprocess import decode_photo
from planespotter_models.prior import DEFAULT_ODDS, MAX_ODDS, Prior, PriorError, make_prior
from planespotter_photos import PhotoError

FOLDER = Path(__file__).parent
"""Folder of the installed models: NAME/VERSION/bundle.json, each with a model card next to it."""

__all__ = [
    "CONSTRUCTOR_HEAD",
    "DEFAULT_BATCH_SIZES",
    "DEFAULT_ODDS",
    "FOLDER",
    "MAX_ODDS",
    "NETWORK",
    "POOLINGS",
    "Architecture",
    "Bundle",
    "BundleError",
    "Calibration",
    "Decisions",
    "DecodeRule",
    "Engine",
    "EngineChoice",
    "EngineMode",
    "IncompleteBundleError",
    "Int8Calibration",
    "Label",
    "LabelTree",
    "Level",
    "Metric",
    "PhotoError",
    "Prediction",
    "PredictionOptions",
    "Prior",
    "PriorError",
    "Thresholds",
    "combine_evidence",
    "cores",
    "decide",
    "decode_leaves",
    "decode_photo",
    "decode_prediction",
    "leaf_probabilities",
    "leaf_table",
    "load_engine",
    "log_evidence",
    "make_prior",
    "read_bundle",
    "write_bundle",
]
