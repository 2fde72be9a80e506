"""Evaluation of a bundle: exactly what is served, each photo once, without its training photos unless selected."""

import csv
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from planespotter_client.commands.main import main
from planespotter_models import decode_photo, decode_prediction, load_engine, read_bundle, write_bundle
from planespotter_training.data.training_fingerprint import make_fingerprint
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation import confidence_intervals
from planespotter_training.evaluation.evaluate import BATCH, Evaluation, evaluate, remarks
from planespotter_training.evaluation.metrics import METRICS
from planespotter_training.evaluation.output_files import metrics_content
from planespotter_training.reports import evaluation_report

QUIET = Console(quiet=True)
TYPES = {
    "A320-200": ("Airbus", "A320-214"),
    "A320neo": ("Airbus", "A320-251N"),
    "A380": ("Airbus", "A380-841"),
    "737-800": ("Boeing", "737-8AS"),
    "737 MAX 8": ("Boeing", "737-8 MAX"),
    "747": ("Boeing", "747-400"),
}
PHOTOS = 2 * BATCH + 6  # the last batch is not full


def write_catalog(folder: Path, rows: list[dict[str, str]], paint: Callable[..., bytes]) -> Path:
    (folder / "images").mkdir(parents=True)
    records = []
    for number, row in enumerate(rows):
        row = {"photo_id": f"p{number}", "file": f"images/{number}.jpg", **row}
        (folder / row["file"]).write_bytes(paint(row.pop("paint")))
        records.append(row)
    pd.DataFrame(records).to_csv(folder / "catalog.csv", index=False)
    return folder


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Bootstrap fewer samples, for speed; intervals are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confidence_intervals, "DRAWS", 0)
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, paint: Callable[..., bytes]) -> Path:
    rows = []
    for number in range(PHOTOS):
        name = list(TYPES)[number % len(TYPES)]
        constructor, aircraft_type = TYPES[name]
        shown = name if number % 5 else "737-800"  # every fifth photo shows another type
        row = {"constructor": constructor, "aircraft_type": aircraft_type, "source": "<b>north & south"}
        row |= {"paint": shown, "registration": f"N{number // 2}", "airline": f"airline {number % 3}"}
        rows.append(row)
    rows += [
        {"constructor": name, "aircraft_type": "", "source": "labels", "paint": "747"} for name in ("Airbus", "Boeing")
    ]
    rows += [{"constructor": "ATR", "aircraft_type": "72", "source": "labels", "paint": "nothing known"}]
    rows += [{"constructor": "", "aircraft_type": "", "source": "labels", "paint": "747"}]
    folder = write_catalog(tmp_path_factory.mktemp("evaluated") / "catalog", rows, paint)
    with (folder / "catalog.csv").open("a") as file:
        file.write("broken,images/broken.jpg,Boeing,747-400,labels,,\n")
    (folder / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff truncated")
    return folder


@pytest.fixture(scope="module")
def evaluation(tiny_bundle: Path, catalog: Path) -> Evaluation:
    return evaluate(tiny_bundle, catalog, "all", QUIET)


@pytest.fixture(scope="module")
def written(tiny_bundle: Path, catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reports") / "report"
    run_command("evaluate", tiny_bundle, catalog, "--split", "all", "--out", out)
    return out


def run_command(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code


def read_predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_photo_is_counted_once_and_skipped_photos_are_reported(evaluation: Evaluation, written: Path) -> None:
    content = json.loads((written / "metrics.json").read_text())
    assert content["overall"]["n"] == PHOTOS + 3
    assert sum(group["n"] for group in content["by_source"].values()) == PHOTOS + 3
    predicted = [row["photo_id"] for row in read_predictions(written)]
    assert sorted(predicted) == sorted(f"p{number}" for number in range(PHOTOS + 3))
    assert content["photos"]["unlabelled"] == 1
    assert [skipped["file"] for skipped in content["photos"]["skipped"]] == ["images/broken.jpg"]
    assert any("1 could not be decoded" in line for line in remarks(evaluation))


def test_the_predictions_are_those_of_the_server(tiny_bundle: Path, catalog: Path, written: Path) -> None:
    model = read_bundle(tiny_bundle)
    engine = load_engine(model, (1,))
    for row in read_predictions(written)[::9]:
        photo = decode_photo((catalog / row["file"]).read_bytes(), model.height, model.width)
        (served,) = decode_prediction(model.tree, model.calibration, engine.run(photo[None]))
        assert (row["predicted_constructor"], row["predicted_family"], row["predicted_model"]) == served.label
        assert row["confidence_level"] == served.level.value
        assert float(row["constructor_probability"]) == pytest.approx(served.probabilities[0], abs=1e-4)


def test_the_metrics_are_those_counted_by_hand(written: Path) -> None:
    overall = json.loads((written / "metrics.json").read_text())["overall"]
    # Every fifth photo shows a 737-800.
    shown = [(list(TYPES)[n % 6], list(TYPES)[n % 6] if n % 5 else "737-800") for n in range(PHOTOS)]
    path = np.mean([true == predicted for true, predicted in shown])
    constructors = [TYPES[true][0] == TYPES[predicted][0] for true, predicted in shown] + [False, True]
    assert overall["path_accuracy"] == pytest.approx(path)
    assert overall["constructor_accuracy"] == pytest.approx(np.mean(constructors))
    assert overall["model_accuracy_given_constructor"] >= overall["path_accuracy"]
    assert overall["unknown_share"] == 1
    low, high = overall["intervals"]["path_accuracy"]
    assert low < path < high


def test_a_metric_that_the_labels_do_not_determine_is_null(written: Path) -> None:
    content = json.loads((written / "metrics.json").read_text())
    labels = content["by_source"]["labels"]
    assert labels["n"] == 3
    assert labels["constructor_accuracy"] == 0.5
    undetermined = (
        "family_accuracy",
        "path_accuracy",
        "model_accuracy_given_constructor",
        "path_nll",
        "mistake_severity",
    )
    assert {labels[name] for name in undetermined} == {None}
    assert content["by_source"]["<b>north & south"]["auroc"] is None
    assert set(METRICS) <= set(labels)
    assert content["by_airline"] is None
    assert content["baselines"] is None


class Page(HTMLParser):
    """Collects the tags of a page, and whether each is closed."""

    EMPTY = ("meta", "img", "input", "br", "path", "use", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_the_report_is_self_contained_and_its_images_have_descriptions(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    links = [value for _, attributes in page.tags for name in ("src", "href") if (value := attributes.get(name))]
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "://" not in re.sub(r"data:image/[^\"]*", "", text)
    photos = [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("class") != "heat-map"]
    assert len(photos) >= 6
    assert all("predicted as" in str(attributes["alt"]) for attributes in photos)
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 3
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in charts)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in text
    assert "Temperatures, fitted on validation photos: constructor 1.00, " in text


def test_names_from_a_catalog_are_escaped_in_the_report(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;north &amp; south" in text
    assert "<b>north" not in text


def with_fingerprint(tiny_bundle: Path, folder: Path, split: list[dict[str, str]]) -> Path:
    columns = ("photo_id", "source", "file", "registration", "airline", "sha256", "split")
    rows = pd.DataFrame([{name: row.get(name, "") for name in columns} for row in split])
    model = read_bundle(tiny_bundle)
    record = {"training_fingerprint": make_fingerprint(rows), "sources": {"labels": {"Boeing": 1}}}
    write_bundle(dataclasses.replace(model, training={**model.training, **record}), folder)
    return folder


@pytest.mark.slow
def test_training_and_validation_photos_are_excluded_in_any_catalog(
    tiny_bundle: Path, catalog: Path, tmp_path: Path
) -> None:
    file = (catalog / "images" / f"{PHOTOS}.jpg").read_bytes()  # of the first photo without a registration
    bundle = with_fingerprint(
        tiny_bundle,
        tmp_path / "bundle",
        [
            {"photo_id": "elsewhere-1", "registration": "n-0", "airline": "airline 0", "split": "train"},
            {"photo_id": "elsewhere-2", "sha256": hashlib.sha256(file).hexdigest(), "split": "validation"},
        ],
    )
    evaluation = evaluate(bundle, catalog, "test", QUIET)
    splits = dict(zip(evaluation.photos["photo_id"], evaluation.photos["split"], strict=True))
    assert {"p0", "p1"}.isdisjoint(splits)  # the two photos of N0
    same_bytes = [n for n in range(PHOTOS + 2) if (catalog / "images" / f"{n}.jpg").read_bytes() == file]
    with_airframes = {0, 1, *same_bytes} | {n ^ 1 for n in same_bytes if n < PHOTOS}  # two photos each, side by side
    assert set(splits) == {f"p{n}" for n in set(range(PHOTOS + 3)) - with_airframes}
    by_airline = metrics_content(evaluation, {})["by_airline"]
    in_training = int((evaluation.photos["airline"] == "airline 0").sum())
    assert by_airline["in_training"]["n"] == in_training
    assert by_airline["not_in_training"]["n"] == int((evaluation.photos["airline"] != "").sum()) - in_training

    optimistic = evaluate(bundle, catalog, "all", QUIET)
    assert any("WARNING" in line for line in remarks(optimistic))
    text = evaluation_report.render(optimistic, metrics_content(optimistic, {}))
    assert "These metrics are too optimistic." in text
    assert "not in training" in text


def noise(seed: int) -> Image.Image:
    """Return an image with as much detail as a photo."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 18, 3), np.uint8)
    return Image.fromarray(pixels).resize((144, 96), Image.Resampling.BICUBIC)


def test_a_photo_cropped_since_training_is_matched_by_its_id_and_source(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    (folder / "images").mkdir(parents=True)
    rows = ["photo_id,source,file,constructor"]
    for name, source in (("p0", "airport"), ("p1", "airport"), ("p2", "elsewhere")):
        noise(len(rows)).save(folder / "images" / f"{name}.jpg")
        rows.append(f"{name},{source},images/{name}.jpg,Boeing")
    (folder / "catalog.csv").write_text("\n".join(rows) + "\n")
    trained = {"sha256": "0" * 64, "source": "airport", "split": "train"}
    bundle = with_fingerprint(
        tiny_bundle, tmp_path / "bundle", [{"photo_id": name, **trained} for name in ("p0", "p2")]
    )
    assert list(evaluate(bundle, folder, "test", QUIET).photos["photo_id"]) == ["p1", "p2"]


def test_a_near_duplicate_of_a_training_photo_is_excluded(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    (folder / "images").mkdir(parents=True)
    for number, (picture, quality) in enumerate(((noise(1), 95), (noise(1), 40), (noise(2), 95))):
        picture.save(folder / "images" / f"{number}.jpg", quality=quality)
    rows = [f"p{number},images/{number}.jpg,Boeing,747-400,N{number}" for number in range(3)]
    lines = ["photo_id,file,constructor,aircraft_type,registration", *rows]
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    bundle = with_fingerprint(
        tiny_bundle, tmp_path / "bundle", [{"photo_id": "x", "registration": "N0", "split": "train"}]
    )
    evaluation = evaluate(bundle, folder, "test", QUIET)
    assert list(evaluation.photos["photo_id"]) == ["p2"]
    assert evaluation.split_sizes == {"train": 2, "test": 1}


@pytest.mark.slow
def test_held_out_sources_and_airlines_have_separate_metrics(
    tiny_bundle: Path, catalog: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = read_bundle(tiny_bundle)
    held_out = {"sources": ["Labels", "not here"], "airlines": ["airline 1"]}
    write_bundle(dataclasses.replace(model, training={**model.training, "held_out": held_out}), tmp_path / "bundle")
    run_command("evaluate", tmp_path / "bundle", catalog, "--split", "all", "--out", tmp_path / "out")
    groups = json.loads((tmp_path / "out" / "metrics.json").read_text())["held_out"]
    flown = len(range(1, PHOTOS, 3))
    assert {name: group["n"] for name, group in groups.items()} == {
        "source Labels": 3,
        "airline airline 1": flown,
        "others": PHOTOS - flown,
    }
    shown = capsys.readouterr().out
    assert "held out of training" in shown
    assert "airline airline 1" in shown
    assert "<th>airline airline 1</th>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    run_command("evaluate", tmp_path / "bundle", catalog, "--split", "all", "--only-source", "labels")
    assert "others" not in capsys.readouterr().out.split("held out of training")[1].splitlines()[0]


def test_only_the_selected_photos_are_evaluated(tiny_bundle: Path, catalog: Path) -> None:
    evaluation = evaluate(tiny_bundle, catalog, "all", QUIET, ["LABELS"])
    assert set(evaluation.photos["source"]) == {"labels"}
    evaluation = evaluate(tiny_bundle, catalog, "all", QUIET, airlines=["airline 1"])
    assert set(evaluation.photos["airline"]) == {"airline 1"}
    with pytest.raises(TrainingError, match=r"no photo of the airline 'Pan Am'. It has: airline 0"):
        evaluate(tiny_bundle, catalog, "all", QUIET, airlines=["Pan Am"])


@pytest.mark.slow
def test_another_bundle_can_be_the_baseline(tiny_bundle: Path, catalog: Path, tmp_path: Path) -> None:
    run_command(
        "evaluate", tiny_bundle, catalog, "--split", "all", "--out", tmp_path / "out", "--baseline", tiny_bundle
    )
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    same = {name: value for name, value in content["overall"].items() if name in METRICS}
    assert {name: content["baselines"]["tiny 1"][name] for name in METRICS} == pytest.approx(same, nan_ok=True)
    assert "baseline: tiny 1" in (tmp_path / "out" / "report.html").read_text()


def test_a_folder_with_other_files_is_not_overwritten(
    tiny_bundle: Path, catalog: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(tiny_bundle), str(catalog), "--out", str(tmp_path)])
    assert ended.value.code == 1
    assert "holds other files than an evaluation" in capsys.readouterr().err
