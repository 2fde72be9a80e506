"""`planespotter convert`: each format is read back by the library that its tools use."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exiv2
import openpyxl
import pytest
from label_studio_tools.core.label_config import parse_config
from pycocotools.coco import COCO
from tests.client.classify import command

from planespotter_client.commands.main import main

Paint = Callable[..., bytes]
RUNS = {"csv": "results.csv", "jsonl": "results.jsonl", "parquet": "results.parquet"}


def run(*arguments: object) -> int:
    """Run `planespotter convert` in this process; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(["convert", *map(str, arguments)])
    return int(done.value.code or 0)


@pytest.fixture
def photos(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("A320neo", "747", "nothing known"):
        Path(f"photos/{name}.jpg").write_bytes(paint(name))
    Path("photos/=broken.jpg").write_bytes(b"not a photo")
    return Path("photos")


@pytest.fixture(params=RUNS)
def results(request: pytest.FixtureRequest, photos: Path, address: str) -> Path:
    out = Path(RUNS[request.param])
    assert command.run(photos, "--server", address, "--out", out, "--top-k", "2", "--quiet") == 3
    return out


def keywords(sidecar: Path, name: str) -> list[str]:
    """Return a list of keywords as Exiv2 reads them, the library of digiKam, darktable and others."""
    image = exiv2.ImageFactory.open(str(sidecar))
    image.readMetadata()
    value = next(datum for datum in image.xmpData() if datum.key() == name).value()
    return [value.toString(index) for index in range(value.count())]


def test_a_sidecar_has_flat_and_hierarchical_keywords(
    results: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(results, "--to", "xmp") == 0
    assert "2 sidecars written; 2 without a confident name" in capsys.readouterr().out
    sidecar = photos / "A320neo.jpg.xmp"
    exiv2.XmpProperties.registerNs("http://www.digikam.org/ns/1.0/", "digiKam")
    assert keywords(sidecar, "Xmp.dc.subject") == ["Airbus", "A320", "A320neo"]
    assert keywords(sidecar, "Xmp.lr.hierarchicalSubject") == [
        "Aircraft",
        "Aircraft|Airbus",
        "Aircraft|Airbus|A320",
        "Aircraft|Airbus|A320|A320neo",
    ]
    assert keywords(sidecar, "Xmp.digiKam.TagsList")[-1] == "Aircraft/Airbus/A320/A320neo"
    assert not (photos / "nothing known.jpg.xmp").exists()


def test_a_sidecar_of_another_program_stays_and_one_of_ours_is_replaced(
    results: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "747.xmp").write_text("<edits of a photographer/>")
    assert run(results, "--to", "xmp", "--replace-suffix") == 0
    assert run(results, "--to", "xmp", "--replace-suffix") == 0
    assert "1 sidecar written; 2 without a confident name, 0 photos not found, 1 sidecar of other" in (
        capsys.readouterr().out
    )
    assert (photos / "747.xmp").read_text() == "<edits of a photographer/>"


def test_photos_that_moved_are_found_by_root(
    results: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "moved").mkdir()
    photos.rename("moved/photos")
    assert run(results, "--to", "xmp") == 1
    assert "name their folder with --root" in capsys.readouterr().err
    assert run(results, "--to", "xmp", "--root", "moved") == 0
    assert Path("moved/photos/747.jpg.xmp").exists()


def test_label_studio_tasks_fit_their_labeling_configuration(results: Path) -> None:
    assert run(results, "--to", "label-studio", "--out", "tasks.json") == 0
    tasks = {task["data"]["file"]: task for task in json.loads(Path("tasks.json").read_text())}
    assert len(tasks) == 4
    assert "predictions" not in tasks["photos/=broken.jpg"]
    view = ElementTree.parse("tasks.xml").getroot()
    image, taxonomy = view.find("Image"), view.find("Taxonomy")
    assert image is not None
    assert taxonomy is not None
    control = parse_config(Path("tasks.xml").read_text())["aircraft"]  # as Label Studio reads it
    assert (control["type"], control["to_name"]) == ("Taxonomy", ["image"])
    assert control["inputs"] == [{"type": "Image", "value": "image"}]
    assert {"Boeing", "747", "A320neo"} <= set(control["labels"])
    for task in tasks.values():
        assert set(task["data"]) >= {str(image.get("value")).removeprefix("$")}
        for prediction in task.get("predictions", ()):
            assert prediction["model_version"] == "tiny 1"
            assert 0 < prediction["score"] <= 1
            (region,) = prediction["result"]
            assert (region["from_name"], region["to_name"]) == (taxonomy.get("name"), image.get("name"))
            assert region["type"] == "taxonomy"
            for path in region["value"]["taxonomy"]:
                node: Any = taxonomy
                for name in path:
                    node = next(choice for choice in node if choice.get("value") == name)
    assert tasks["photos/747.jpg"]["predictions"][0]["result"][0]["value"]["taxonomy"] == [["Boeing", "747"]]
    assert tasks["photos/nothing known.jpg"]["data"]["image"] == "/data/local-files/?d=photos/nothing%20known.jpg"
    if results.suffix == ".parquet":
        assert taxonomy.find("Choice[@value='Airbus']/Choice[@value='A380']") is not None


def test_label_studio_itself_accepts_the_tasks(results: Path) -> None:
    label_interface = pytest.importorskip("label_studio_sdk.label_interface")
    assert run(results, "--to", "label-studio", "--out", "tasks.json") == 0
    interface = label_interface.LabelInterface(Path("tasks.xml").read_text())
    for task in json.loads(Path("tasks.json").read_text()):
        assert interface.validate_task({"data": task["data"]})
        for prediction in task.get("predictions", ()):
            assert interface.validate_prediction(prediction)


def test_pycocotools_reads_the_coco_file(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(results, "--to", "coco", "--out", "coco.json") == 0
    assert "1 photo that cannot be opened skipped" in capsys.readouterr().out
    coco = COCO("coco.json")
    (category,) = coco.getCatIds(catNms=["Boeing 747"])
    (image_id,) = coco.getImgIds(catIds=[category])
    (image,) = coco.loadImgs(image_id)
    (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
    assert (image["file_name"], image["width"], image["height"]) == ("photos/747.jpg", 144, 96)
    assert annotation["bbox"] == [0, 0, 144, 96]
    assert annotation["confident"] == "Boeing 747"
    assert coco.loadRes(coco.loadAnns(coco.getAnnIds())).getAnnIds() == coco.getAnnIds()


def test_openpyxl_reads_the_workbook(results: Path) -> None:
    assert run(results, "--to", "excel", "--out", "results.xlsx") == 0
    book = openpyxl.load_workbook("results.xlsx")
    header, *lines = book["Photos"].values
    rows = {Path(str(line[0])).stem: dict(zip(header, line, strict=True)) for line in lines}
    assert rows["747"]["name"] == "Boeing 747"
    assert isinstance(rows["747"]["probability"], float)
    assert str(rows["747"]["candidates"]).startswith("Boeing 747 0.9")
    assert rows["=broken"]["name"] is None
    assert "JPEG, PNG or WebP" in str(rows["=broken"]["error"])
    assert dict(book["Types"].values) == {
        "name": "photos",
        "Boeing 747": 1,
        "Airbus A320neo": 1,
        "unknown": 1,
        "failed": 1,
    }


def test_a_file_name_that_looks_like_a_formula_is_text(photos: Path, address: str) -> None:
    os_name = photos / "=SUM(A1).jpg"
    (photos / "747.jpg").rename(os_name)
    command.run(photos, "--server", address, "--out", "results.csv", "--quiet")
    text = Path("results.csv").read_text().replace("photos/=SUM", "=SUM")
    Path("results.csv").write_text(text)
    run("results.csv", "--to", "excel", "--out", "results.xlsx")
    cells = [cell for (cell, *_) in openpyxl.load_workbook("results.xlsx")["Photos"].iter_rows()]
    assert [cell.data_type for cell in cells if str(cell.value).startswith("=SUM")] == ["s"]


@pytest.mark.slow
def test_frames_of_a_video_are_a_workbook_but_no_photos(
    video: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in ("clip.csv", "clip.jsonl"):
        assert command.run("--video", video, "--server", address, "--out", out, "--quiet") == 0
        assert run(out, "--to", "xmp") == 1
        assert "has frames of a video, and this format is for photos" in capsys.readouterr().err
        assert run(out, "--to", "excel", "--out", "clip.xlsx", "--overwrite") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.csv", "--to", "coco"), "--to coco needs --out, such as a.json"),
        (("a.csv", "--to", "excel", "--out", "a.csv"), "--to excel writes a .xlsx file, and a.csv is none"),
        (("a.csv", "--to", "coco", "--out", "old.json"), "old.json exists: name another --out, or add --overwrite"),
        (("a.csv", "--to", "xmp", "--out", "a.xmp"), "--to xmp writes next to the photos"),
        (("a.csv", "--to", "coco", "--out", "a.json", "--replace-suffix"), "--replace-suffix needs --to xmp"),
    ],
)
def test_wrong_usage_is_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").touch()
    Path("old.json").touch()
    assert run(*arguments) == 2
    assert message in re.sub(r"[\s│]+", " ", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "photo,type\na.jpg,747\n", "does not have results of `planespotter classify`"),
        ("a.jsonl", "[1]\n", "does not have results"),
        ("a.txt", "", "ends in none of .csv"),
        ("a.parquet", "", "cannot be read as a Parquet file"),
    ],
)
def test_a_file_without_results_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    assert run(tmp_path / name, "--to", "coco", "--out", tmp_path / "coco.json") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "coco.json").exists()
