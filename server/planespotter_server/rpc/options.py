"""Options of a call: validate ClassifyOptions, and prepare them once per call and model."""

import math
import re

from planespotter.v1 import classifier_pb2 as pb
from planespotter_models import DEFAULT_ODDS, Bundle, Label, PredictionOptions, Prior, PriorError, make_prior
from planespotter_server.rejections import RequestRejected

MAX_PRIOR_WEIGHTS = 10_000
PRIOR_NAME = re.compile(r"[a-z0-9-]{1,32}")


class CallOptions:
    """The options of a call or a stream, which all its photos share."""

    def __init__(self, message: pb.ClassifyOptions) -> None:
        self.message = message
        self._prepared: tuple[Bundle, PredictionOptions] | None = None

    def prepare(self, bundle: Bundle, max_top_k: int, field: str = "options") -> PredictionOptions:
        """Return the options for the model of `bundle`.

        Args:
            bundle: The model; it may change between two photos of a stream.
            max_top_k: Maximum number of candidates.
            field: Path of the options in the request.

        Raises:
            RequestRejected: TOP_K_OUT_OF_RANGE, MIN_PROBABILITY_OUT_OF_RANGE, HEAT_MAP_UNSUPPORTED or PRIOR_INVALID.
        """
        if self._prepared is None or self._prepared[0] is not bundle:
            self._prepared = bundle, _prepare(self.message, bundle, max_top_k, field)
        return self._prepared[1]


def _prepare(options: pb.ClassifyOptions, bundle: Bundle, max_top_k: int, field: str) -> PredictionOptions:
    if not 0 <= options.top_k <= max_top_k:
        raise RequestRejected(
            "TOP_K_OUT_OF_RANGE",
            f"top_k is out of range: {options.top_k}. Send a number from 0 to {max_top_k}.",
            metadata={"top_k": options.top_k, "limit": max_top_k},
            field=f"{field}.top_k",
        )
    if options.HasField("min_probability") and not 0 <= options.min_probability <= 1:
        raise RequestRejected(
            "MIN_PROBABILITY_OUT_OF_RANGE",
            f"min_probability is out of range: {options.min_probability:g}. Send a number from 0 to 1, or omit it.",
            metadata={"min_probability": f"{options.min_probability:g}"},
            field=f"{field}.min_probability",
        )
    if options.heat_map and bundle.heat_map is None:
        raise RequestRejected(
            "HEAT_MAP_UNSUPPORTED",
            f"The model {bundle.name} {bundle.version} cannot compute heat maps. Omit heat_map, or choose a model "
            "with heat_map_supported.",
            metadata={"model_name": bundle.name, "model_version": bundle.version},
            field=f"{field}.heat_map",
        )
    return PredictionOptions(
        top_k=options.top_k,
        min_probability=options.min_probability if options.HasField("min_probability") else None,
        leaf_probabilities=options.leaf_probabilities,
        prior=_prior(options.prior, bundle, f"{field}.prior") if options.HasField("prior") else None,
    )


def _prior(message: pb.Prior, bundle: Bundle, field: str) -> Prior:
    if not PRIOR_NAME.fullmatch(message.name):
        raise _invalid(
            "The prior has no valid name. Send 1 to 32 lower-case letters, digits and dashes.", f"{field}.name"
        )
    if len(message.weights) > MAX_PRIOR_WEIGHTS:
        raise _invalid(
            f"The prior has too many weights: {len(message.weights):,}; the limit is {MAX_PRIOR_WEIGHTS:,}. Add those "
            "of one type together.",
            f"{field}.weights",
        )
    mix: dict[Label, float] = {}
    for weight in message.weights:
        label = Label(*weight.path[:3])
        mix[label] = mix.get(label, 0.0) + (weight.weight if weight.weight >= 0 else math.nan)
    try:
        return make_prior(bundle.tree, message.name, mix, message.odds if message.HasField("odds") else DEFAULT_ODDS)
    except PriorError as error:
        raise _invalid(str(error), field) from error


def _invalid(message: str, field: str) -> RequestRejected:
    return RequestRejected("PRIOR_INVALID", message, field=field)
