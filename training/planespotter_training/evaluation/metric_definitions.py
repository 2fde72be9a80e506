"""What each figure is called and means, for the reports. Whatever is no share of photos is given as a number."""

from typing import NamedTuple

from planespotter_training.evaluation.confidence_intervals import SHARES


class Definition(NamedTuple):
    """How a figure is shown: its name in words, a sentence, and whether more of it is better."""

    words: str
    meaning: str
    more_is_better: bool = True


DEFINITIONS = {
    "constructor_accuracy": Definition(
        "constructor accuracy", "The constructor is right, of photos whose constructor the network knows."
    ),
    "constructor_macro_f1": Definition(
        "constructor macro-F1", "The mean over constructors of the harmonic mean of recall and precision."
    ),
    "family_accuracy": Definition(
        "family accuracy", "Constructor and family are right, of photos whose family the network knows."
    ),
    "model_accuracy_given_constructor": Definition(
        "type accuracy given the constructor",
        "The second stage alone: the type is right if the first stage were always right. A type is a model, or a "
        "family whose models the network does not tell apart.",
    ),
    "path_accuracy": Definition(
        "path accuracy", "The chain: constructor, family and model are all right, of photos labelled down to a type."
    ),
    "path_macro_f1": Definition("type macro-F1", "The mean over types of the harmonic mean of recall and precision."),
    "hierarchical_precision": Definition(
        "hierarchical precision",
        "Of all nodes on the paths that are answered, the share that is on the true paths (Kiritchenko et al. 2006).",
    ),
    "hierarchical_recall": Definition(
        "hierarchical recall", "Of all nodes on the true paths, the share that is on the paths that are answered."
    ),
    "hierarchical_f": Definition("hierarchical F", "The harmonic mean of the two."),
    "sure_hierarchical_precision": Definition(
        "hierarchical precision, sure levels", "The same, counting only the levels that the answer is sure of."
    ),
    "sure_hierarchical_recall": Definition(
        "hierarchical recall, sure levels", "The same, counting only the levels that the answer is sure of."
    ),
    "sure_hierarchical_f": Definition("hierarchical F, sure levels", "The harmonic mean of the two."),
    "severity": Definition(
        "severity",
        "How high up the two paths meet, on average: 0 right, 1 in the family, 2 in the constructor, 3 nowhere.",
        more_is_better=False,
    ),
    "severity_of_mistakes": Definition(
        "severity of mistakes",
        "The same over wrong paths only; many mild mistakes lower it, so read it with the one above.",
        more_is_better=False,
    ),
    "nll": Definition("NLL", "Mean of -log of the probability given to the true constructor.", more_is_better=False),
    "nll_before_temperature": Definition("NLL before temperature", "As trained.", more_is_better=False),
    "brier": Definition(
        "Brier score",
        "Squared distance of the constructors' probabilities from what is true, 0 to 2.",
        more_is_better=False,
    ),
    "brier_before_temperature": Definition("Brier score before temperature", "As trained.", more_is_better=False),
    "ece": Definition(
        "calibration error",
        "Expected calibration error of the constructor: mean distance between probability and share that is right, in "
        "15 groups of as many photos each.",
        more_is_better=False,
    ),
    "ece_before_temperature": Definition("calibration error before temperature", "As trained.", more_is_better=False),
    "aurc": Definition(
        "AURC",
        "Area under the curve of risk and coverage: the share of wrong constructors among the k surest, averaged over "
        "all k.",
        more_is_better=False,
    ),
    "path_nll": Definition("NLL of the path", "As above, of the whole path.", more_is_better=False),
    "path_nll_before_temperature": Definition(
        "NLL of the path before temperature", "As trained.", more_is_better=False
    ),
    "path_brier": Definition("Brier score of the path", "As above, over all types.", more_is_better=False),
    "path_brier_before_temperature": Definition(
        "Brier score of the path before temperature", "As trained.", more_is_better=False
    ),
    "path_ece": Definition("calibration error of the path", "As above, of the whole path.", more_is_better=False),
    "path_ece_before_temperature": Definition(
        "calibration error of the path before temperature", "As trained.", more_is_better=False
    ),
    "path_aurc": Definition("AURC of the path", "As above, of the whole path.", more_is_better=False),
    "sure_share": Definition(
        "answered", "Answered at least with a constructor, of photos whose constructor the network knows."
    ),
    "sure_accuracy": Definition(
        "answers right", "No level that the answer is sure of is wrong, of those that are answered."
    ),
    "answered_constructor_share": Definition("answered with a constructor", "The answer ends at the constructor."),
    "answered_constructor_accuracy": Definition("... of which right", "Of these, where the label can tell."),
    "answered_family_share": Definition("answered with a family", "The answer ends at the family."),
    "answered_family_accuracy": Definition("... of which right", "Of these, where the label can tell."),
    "answered_model_share": Definition("answered with a model", "The answer ends at the model."),
    "answered_model_accuracy": Definition("... of which right", "Of these, where the label can tell."),
    "unknown_share": Definition(
        "others answered with unknown",
        "Of aircraft of constructors that the network does not know: the more the better.",
    ),
    "auroc": Definition(
        "AUROC",
        "How well the constructor's probability tells known constructors from others: 1 always, 0.5 not at all.",
    ),
    "fpr95": Definition(
        "FPR95",
        "The share of others that would be let in by the threshold that lets in 95% of the known.",
        more_is_better=False,
    ),
    "path_auroc": Definition(
        "AUROC of the path",
        "The same with the probability of the whole path. The largest logit, or their energy, is not to be had: a "
        "bundle answers with log-probabilities, from which each head's own scale is gone.",
    ),
    "path_fpr95": Definition(
        "FPR95 of the path", "The same with the probability of the whole path.", more_is_better=False
    ),
    "greedy_constructor_accuracy": Definition(
        "constructor accuracy, greedy", "Decoding the most probable constructor, then its most probable type."
    ),
    "greedy_family_accuracy": Definition("family accuracy, greedy", "The same."),
    "greedy_path_accuracy": Definition("path accuracy, greedy", "The same."),
    "best_path_constructor_accuracy": Definition(
        "constructor accuracy, best path", "Decoding the most probable type of all, whoever builds it."
    ),
    "best_path_family_accuracy": Definition("family accuracy, best path", "The same."),
    "best_path_accuracy": Definition("path accuracy, best path", "The same."),
}


DASH = "\N{EN DASH}"


def shown(name: str, value: float | None) -> str:
    """Return a figure as text: shares in per cent, others as numbers, and a dash for what the labels do not allow."""
    if value is None:
        return DASH
    return f"{value:.1%}" if name in SHARES or "hierarchical" in name else f"{value:.3f}"


def shown_interval(name: str, ends: tuple[float, float] | None) -> str:
    """Return an interval as text, without repeating the unit."""
    return "" if ends is None else DASH.join(shown(name, end).rstrip("%") for end in ends)
