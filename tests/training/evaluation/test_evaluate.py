"""Evaluating a bundle: exactly what is served, each photo once, and nothing that it was made with unless asked for."""

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
from planespotter_training.data.training_fingerprint import remember
from planespotter_training.errors import TrainingError
from planespotter_training.evaluation import confidence_intervals
from planespotter_training.evaluation.evaluate import BATCH, Evaluation, evaluate, remarks
from planespotter_training.evaluation.metrics import FIGURES
from planespotter_training.evaluation.output_files import metrics
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
    written = []
    for number, row in enumerate(rows):
        row = {"photo_id": f"p{number}", "file": f"images/{number}.jpg", **row}
        (folder / row["file"]).write_bytes(paint(row.pop("paint")))
        written.append(row)
    pd.DataFrame(written).to_csv(folder / "catalog.csv", index=False)
    return folder


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Iterator[None]:
    """Intervals are tested elsewhere; here they are drawn from fewer samples, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confidence_intervals, "DRAWS", 0)
        yield


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, paint: Callable[..., bytes]) -> Path:
    rows = []
    for number in range(PHOTOS):
        name = list(TYPES)[number % len(TYPES)]
        constructor, aircraft_type = TYPES[name]
        shown = name if number % 5 else "737-800"  # every fifth photo shows something else
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
    (folder / "images" / "broken.jpg").write_bytes(b"\xff\xd8\xff and no more")
    return folder


@pytest.fixture(scope="module")
def evaluation(tiny_bundle: Path, catalog: Path) -> Evaluation:
    return evaluate(tiny_bundle, catalog, "all", QUIET)


@pytest.fixture(scope="module")
def written(tiny_bundle: Path, catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reports") / "report"
    main_well("evaluate", tiny_bundle, catalog, "--split", "all", "--out", out)
    return out


def main_well(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code


def read_answers(folder: Path) -> list[dict[str, str]]:
    with (folder / "answers.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_photo_is_counted_once_and_the_others_are_named(evaluation: Evaluation, written: Path) -> None:
    found = json.loads((written / "metrics.json").read_text())
    assert found["overall"]["n"] == PHOTOS + 3
    assert sum(group["n"] for group in found["by_source"].values()) == PHOTOS + 3
    answered = [row["photo_id"] for row in read_answers(written)]
    assert sorted(answered) == sorted(f"p{number}" for number in range(PHOTOS + 3))
    assert found["photos"]["unlabelled"] == 1
    assert [one["file"] for one in found["photos"]["left_out"]] == ["images/broken.jpg"]
    assert any("1 could not be decoded" in line for line in remarks(evaluation))


def test_the_answers_are_those_that_are_served(tiny_bundle: Path, catalog: Path, written: Path) -> None:
    model = read_bundle(tiny_bundle)
    engine = load_engine(model, (1,))
    for row in read_answers(written)[::9]:
        photo = decode_photo((catalog / row["file"]).read_bytes(), model.height, model.width)
        (served,) = decode_prediction(model.tree, model.calibration, engine.run(photo[None]))
        assert (row["answer_constructor"], row["answer_family"], row["answer_model"]) == served.label
        assert row["answer_level"] == served.level.value
        assert float(row["constructor_probability"]) == pytest.approx(served.probabilities[0], abs=1e-4)


def test_the_figures_are_what_one_counts_by_hand(written: Path) -> None:
    found = json.loads((written / "metrics.json").read_text())["overall"]
    # Every fifth of the photos shows a 737-800. It is one in 7 of 15 and says Boeing in 8 of 15.
    shown = [(list(TYPES)[n % 6], list(TYPES)[n % 6] if n % 5 else "737-800") for n in range(PHOTOS)]
    path = np.mean([true == said for true, said in shown])
    constructors = [TYPES[true][0] == TYPES[said][0] for true, said in shown] + [False, True]
    assert found["path_accuracy"] == pytest.approx(path)
    assert found["constructor_accuracy"] == pytest.approx(np.mean(constructors))
    assert found["model_accuracy_given_constructor"] >= found["path_accuracy"]
    assert found["unknown_share"] == 1
    low, high = found["intervals"]["path_accuracy"]
    assert low < path < high


def test_a_figure_that_the_labels_do_not_allow_is_null(written: Path) -> None:
    found = json.loads((written / "metrics.json").read_text())
    labels = found["by_source"]["labels"]
    assert labels["n"] == 3
    assert labels["constructor_accuracy"] == 0.5
    nothing = ("family_accuracy", "path_accuracy", "model_accuracy_given_constructor", "path_nll", "severity")
    assert {labels[name] for name in nothing} == {None}
    assert found["by_source"]["<b>north & south"]["auroc"] is None
    assert set(FIGURES) <= set(labels)
    assert found["by_airline"] is None
    assert found["control"] is None


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


def test_the_report_needs_nothing_from_outside_and_says_what_its_pictures_show(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    links = [value for _, attributes in page.tags for name in ("src", "href") if (value := attributes.get(name))]
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert "://" not in re.sub(r"data:image/[^\"]*", "", text)
    photos = [attributes for tag, attributes in page.tags if tag == "img" and attributes.get("class") != "heat"]
    assert len(photos) >= 6
    assert all("for which the network said" in str(attributes["alt"]) for attributes in photos)
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 3
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in charts)
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert "prefers-color-scheme: dark" in text
    assert "Temperatures, chosen on validation photos: constructor 1.00, " in text


def test_names_from_a_catalog_cannot_become_part_of_the_page(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;north &amp; south" in text
    assert "<b>north" not in text


def remembering(tiny_bundle: Path, folder: Path, split: list[dict[str, str]]) -> Path:
    columns = ("photo_id", "source", "file", "registration", "airline", "sha256", "split")
    rows = pd.DataFrame([{name: row.get(name, "") for name in columns} for row in split])
    model = read_bundle(tiny_bundle)
    training_record = {**model.training, "training_fingerprint": remember(rows), "sources": {"labels": {"Boeing": 1}}}
    write_bundle(dataclasses.replace(model, training=training_record), folder)
    return folder


@pytest.mark.slow
def test_what_the_bundle_was_made_with_is_left_aside_in_any_catalog(
    tiny_bundle: Path, catalog: Path, tmp_path: Path
) -> None:
    file = (catalog / "images" / f"{PHOTOS}.jpg").read_bytes()  # of the first photo without a registration
    made = remembering(
        tiny_bundle,
        tmp_path / "bundle",
        [
            {"photo_id": "elsewhere-1", "registration": "n-0", "airline": "airline 0", "split": "train"},
            {"photo_id": "elsewhere-2", "sha256": hashlib.sha256(file).hexdigest(), "split": "validation"},
        ],
    )
    found = evaluate(made, catalog, "test", QUIET)
    sides = dict(zip(found.photos["photo_id"], found.photos["split"], strict=True))
    assert {"p0", "p1"}.isdisjoint(sides)  # the two photos of N0
    same_bytes = [n for n in range(PHOTOS + 2) if (catalog / "images" / f"{n}.jpg").read_bytes() == file]
    with_airframes = {0, 1, *same_bytes} | {n ^ 1 for n in same_bytes if n < PHOTOS}  # two photos each, side by side
    assert set(sides) == {f"p{n}" for n in set(range(PHOTOS + 3)) - with_airframes}
    by_airline = metrics(found, {})["by_airline"]
    in_training = int((found.photos["airline"] == "airline 0").sum())
    assert by_airline["in_training"]["n"] == in_training
    assert by_airline["not_in_training"]["n"] == int((found.photos["airline"] != "").sum()) - in_training

    flattering = evaluate(made, catalog, "all", QUIET)
    assert any("WARNING" in line for line in remarks(flattering))
    text = evaluation_report.render(flattering, metrics(flattering, {}))
    assert "These figures flatter." in text
    assert "not in training" in text


def noise(seed: int) -> Image.Image:
    """Return a picture with as much detail as a photo has."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 18, 3), np.uint8)
    return Image.fromarray(pixels).resize((144, 96), Image.Resampling.BICUBIC)


def test_a_photo_that_was_cropped_since_training_is_known_by_its_name_at_its_source(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "catalog"
    (folder / "images").mkdir(parents=True)
    rows = ["photo_id,source,file,constructor"]
    for name, source in (("p0", "airport"), ("p1", "airport"), ("p2", "elsewhere")):
        noise(len(rows)).save(folder / "images" / f"{name}.jpg")
        rows.append(f"{name},{source},images/{name}.jpg,Boeing")
    (folder / "catalog.csv").write_text("\n".join(rows) + "\n")
    before = {"sha256": "0" * 64, "source": "airport", "split": "train"}
    made = remembering(tiny_bundle, tmp_path / "bundle", [{"photo_id": name, **before} for name in ("p0", "p2")])
    assert list(evaluate(made, folder, "test", QUIET).photos["photo_id"]) == ["p1", "p2"]


def test_a_photo_that_looks_like_one_that_was_trained_on_is_left_aside(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    (folder / "images").mkdir(parents=True)
    for number, (picture, quality) in enumerate(((noise(1), 95), (noise(1), 40), (noise(2), 95))):
        picture.save(folder / "images" / f"{number}.jpg", quality=quality)
    rows = [f"p{number},images/{number}.jpg,Boeing,747-400,N{number}" for number in range(3)]
    lines = ["photo_id,file,constructor,aircraft_type,registration", *rows]
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    made = remembering(tiny_bundle, tmp_path / "bundle", [{"photo_id": "x", "registration": "N0", "split": "train"}])
    found = evaluate(made, folder, "test", QUIET)
    assert list(found.photos["photo_id"]) == ["p2"]
    assert found.sides == {"train": 2, "test": 1}


@pytest.mark.slow
def test_what_training_left_out_by_name_has_figures_of_its_own(
    tiny_bundle: Path, catalog: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = read_bundle(tiny_bundle)
    left_out = {"sources": ["Labels", "not here"], "airlines": ["airline 1"]}
    write_bundle(dataclasses.replace(model, training={**model.training, "held_out": left_out}), tmp_path / "bundle")
    main_well("evaluate", tmp_path / "bundle", catalog, "--split", "all", "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["left_out_of_training"]
    flown = len(range(1, PHOTOS, 3))
    assert {name: group["n"] for name, group in found.items()} == {
        "source Labels": 3,
        "airline airline 1": flown,
        "others": PHOTOS - flown,
    }
    shown = capsys.readouterr().out
    assert "left out of training" in shown
    assert "airline airline 1" in shown
    assert "<th>airline airline 1</th>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    main_well("evaluate", tmp_path / "bundle", catalog, "--split", "all", "--only-source", "labels")
    assert "others" not in capsys.readouterr().out.split("left out of training")[1].splitlines()[0]


def test_only_the_photos_that_are_asked_for_are_answered(tiny_bundle: Path, catalog: Path) -> None:
    found = evaluate(tiny_bundle, catalog, "all", QUIET, ["LABELS"])
    assert set(found.photos["source"]) == {"labels"}
    found = evaluate(tiny_bundle, catalog, "all", QUIET, airlines=["airline 1"])
    assert set(found.photos["airline"]) == {"airline 1"}
    with pytest.raises(TrainingError, match=r"no photo of the airline 'Pan Am'. It has: airline 0"):
        evaluate(tiny_bundle, catalog, "all", QUIET, airlines=["Pan Am"])


@pytest.mark.slow
def test_another_bundle_can_be_held_beside_it(tiny_bundle: Path, catalog: Path, tmp_path: Path) -> None:
    main_well("evaluate", tiny_bundle, catalog, "--split", "all", "--out", tmp_path / "out", "--control", tiny_bundle)
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    same = {name: value for name, value in found["overall"].items() if name in FIGURES}
    assert {name: found["control"]["tiny 1"][name] for name in FIGURES} == pytest.approx(same, nan_ok=True)
    assert "control: tiny 1" in (tmp_path / "out" / "report.html").read_text()


def test_a_folder_of_something_else_is_left_alone(
    tiny_bundle: Path, catalog: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(tiny_bundle), str(catalog), "--out", str(tmp_path)])
    assert ended.value.code == 1
    assert "is left alone" in capsys.readouterr().err
