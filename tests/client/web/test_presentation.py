"""Presentation: predictions and metrics as text."""

import pytest
from tests.client.predictions import path_of

from planespotter_client import Candidate, Level, Metric, Model, Prediction, Thresholds
from planespotter_client.web import presentation

TREE: dict[str, dict[str, tuple[str, ...]]] = {"Airbus": {"A380": ()}, "Boeing": {"737": ("737-800", "737 MAX 8")}}


def predicted(level: Level, *path: tuple[str, float]) -> Prediction:
    return Prediction(path_of(*path), level, (Candidate("Boeing", "737", "737-800", 0.5),))


AIRBUS = (("Airbus", 0.9), ("A380", 0.5))
BOEING = (("Boeing", 0.999), ("737", 0.97), ("737-800", 0.94))


@pytest.mark.parametrize(
    ("prediction", "headline"),
    [
        (predicted(Level.MODEL, *BOEING), ("Boeing 737-800", "94 %")),
        (predicted(Level.FAMILY, *BOEING), ("Boeing 737", "97 %")),
        (predicted(Level.FAMILY, ("Airbus", 1), ("A380", 0.96)), ("Airbus A380", "96 %")),
        (predicted(Level.CONSTRUCTOR, *BOEING), ("Boeing", "> 99 %")),
        (predicted(Level.CONSTRUCTOR, ("Airbus", 0.9)), ("Airbus", "90 %")),
        (predicted(Level.UNKNOWN, ("Airbus", 0.62), ("A380", 0.5)), ("Unknown", "")),
    ],
)
def test_headline_is_the_confident_part_and_its_probability(prediction: Prediction, headline: tuple[str, str]) -> None:
    name, percentage = presentation.headline(prediction)
    assert (name, percentage.replace("\N{NO-BREAK SPACE}", " ")) == headline


def test_confidence_is_stated_in_the_words_of_the_filter() -> None:
    predictions = {level: presentation.prediction_json(predicted(level, *BOEING), TREE) for level in Level}
    assert {level: (each["group"], each["confidence"]) for level, each in predictions.items()} == {
        Level.MODEL: ("type", "Confident down to the type"),
        Level.FAMILY: ("family", "Confident down to the family"),
        Level.CONSTRUCTOR: ("constructor", "Confident of the constructor only"),
        Level.UNKNOWN: ("unknown", "Not confident of the constructor"),
    }


def test_family_without_models_counts_as_a_type() -> None:
    leaf = presentation.prediction_json(predicted(Level.FAMILY, ("Airbus", 1), ("A380", 0.96)), TREE)
    assert (leaf["group"], leaf["confidence"], leaf["level"]) == ("type", "Confident down to the type", "family")


def model_with(*metrics: Metric) -> Model:
    return Model("small", "1", TREE, (64, 96), Thresholds(0.9, 0.8, 0.7), metrics)


def test_metrics_are_sentences_with_the_number_of_photos_of_each() -> None:
    model = model_with(
        Metric("", "constructor_accuracy", 0.864, 1890),
        Metric("", "family_accuracy", 0.67, 514),
        Metric("", "path_accuracy", 0.36, 503),
        Metric("", "confident_share", 0.63, 1890),
        Metric("", "confident_accuracy", 0.95, 441),
        Metric("", "unknown_share", 30 / 32, 32),
        Metric("site", "x", 1, 9000),
    )
    assert presentation.accuracy_sentences(model) == [
        "It predicts the constructor in 86 % (1,890), the family in 67 % (514) and the model in 36 % (503) of "
        "photos correctly.",
        "It is confident in 63 % (1,890), and then correct in 95 % (441).",
        "Of aircraft by other constructors it predicts 30 of 32 as unknown.",
        "Measured on photos that it was not trained on; the number of photos is in brackets.",
    ]
    assert presentation.taxonomy_summary(model) == "3 types by Airbus and Boeing"


def test_metric_over_few_photos_has_no_brackets_and_no_metrics_no_sentences() -> None:
    assert presentation.accuracy_sentences(model_with(Metric("", "unknown_share", 1.0, 32))) == [
        "Of aircraft by other constructors it predicts 32 of 32 as unknown.",
        "Measured on photos that it was not trained on.",
    ]
    assert presentation.accuracy_sentences(model_with()) == []
