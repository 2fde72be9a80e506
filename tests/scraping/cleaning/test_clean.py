"""Catalog cleaning: its effect on the folder, undo, and kills at any moment."""

import dataclasses
import inspect
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError
from planespotter_scraping.catalog.folder_import import import_folder
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.cleaning import clean
from planespotter_scraping.cleaning.rules import Options
from planespotter_scraping.cli import app
from planespotter_scraping.cli_catalog import clean_catalog
from planespotter_scraping.images.similarity import CACHE


def scene(seed: int, size: tuple[int, int] = (300, 200)) -> Image.Image:
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (12, 18, 3), np.uint8))
    return noise.resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def with_bar(image: Image.Image, rows: int = 20) -> Image.Image:
    result = Image.new("RGB", (image.width, image.height + rows), "black")
    result.paste(image, (0, 0))
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine photos: three good ones, and one for each of six rules."""
    out = tmp_path / "photos"
    for photo_id, image, row in [
        ("good", jpeg(scene(1)), {"constructor": "Airbus", "aircraft_type": "A320-214", "airline": "Air, Ltd"}),
        ("tiny", jpeg(scene(2, (200, 133))), {"constructor": "Airbus"}),
        ("cabin", jpeg(scene(3)), {"constructor": "Boeing", "caption": "Cabin of a 787"}),
        (
            "barred",
            jpeg(with_bar(scene(4))),
            {"constructor": "Boeing", "airline": "Air", "registration": "N1", "source": "framed"},
        ),
        ("copy", jpeg(scene(1)), {"constructor": "Airbus"}),
        ("broken", jpeg(scene(5))[:-400], {"constructor": "Boeing"}),
        ("plain", jpeg(scene(4), 60), {"constructor": "Boeing", "registration": "N1"}),
        ("again", jpeg(scene(1), 40), {"constructor": "Airbus"}),
        ("other", jpeg(scene(1, (600, 400))), {"constructor": "Boeing", "aircraft_type": "737-8AS"}),
    ]:
        catalog.append(out, {"photo_id": photo_id, "source": "site", **row}, image)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a catalog but the cache."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != CACHE)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def ids(folder: Path) -> list[str]:
    return [str(name) for name in catalog.read(folder)["photo_id"]]


def dropped(folder: Path) -> dict[str, str]:
    frame = catalog.dropped(folder)
    return dict(zip(frame["photo_id"], frame["drop_rule"], strict=True))


def test_dropped_rows_move_to_another_file_with_the_reason(folder: Path) -> None:
    original = contents(folder)
    outcome = clean.clean(folder)
    assert ids(folder) == ["good", "barred", "plain", "other"]
    assert dropped(folder) == {
        "broken": "broken",
        "tiny": "small",
        "cabin": "caption",
        "copy": "exact-duplicate",
        "again": "near-duplicate",
    }
    assert (outcome.photos, outcome.remaining) == (9, 4)
    reasons = dict(zip(catalog.dropped(folder)["photo_id"], catalog.dropped(folder)["drop_reason"], strict=True))
    assert reasons["tiny"] == "Its shorter side is 133 pixels, below 192."
    assert reasons["again"].startswith("It is a near duplicate of good (")
    after = contents(folder)
    assert set(after) - set(original) == {"dropped.csv", "changed.csv"}
    assert all(after[file] == original[file] for file in original if file != "catalog.csv")
    catalog.check(folder, catalog.read(folder), hashes=True)


def test_undo_restores_every_byte(folder: Path) -> None:
    original = contents(folder)
    clean.clean(folder, Options(crop_bottom={"framed": 20}))
    assert set(contents(folder)) != set(original)
    assert clean.undo(folder) == (6, 3)
    assert contents(folder) == original
    assert {path.name for path in folder.iterdir()} == {"catalog.csv", "images", CACHE}
    with pytest.raises(CatalogError, match="There is nothing to undo in"):
        clean.undo(folder)


def test_each_undo_reverts_one_clean(folder: Path) -> None:
    states = [contents(folder)]
    for options in (
        Options(),
        Options(crop_bottom={"framed": 20}),
        Options(crop_bottom={"framed": 25}),
        Options(per_model=1, min_side=199),
    ):
        clean.clean(folder, options)
        states.append(contents(folder))
    while len(states) > 1:
        assert contents(folder) == states.pop()
        clean.undo(folder)
    assert contents(folder) == states[0]


def test_cleaning_is_idempotent(folder: Path) -> None:
    options = Options(crop_bottom={"framed": 20})
    clean.clean(folder, options)
    original = contents(folder)
    outcome = clean.clean(folder, options)
    assert (outcome.dropped, outcome.cropped, outcome.review) == ([], {}, {})
    assert contents(folder) == original


def test_a_dry_run_returns_the_same_result_and_changes_nothing(folder: Path) -> None:
    original = contents(folder)
    options = Options(crop_bottom={"framed": 20})
    result = clean.clean(folder, options, dry_run=True)
    assert contents(folder) == original
    assert clean.clean(folder, options) == result


def test_a_cropped_image_is_a_new_file_and_its_near_duplicate_is_found(folder: Path) -> None:
    data = (folder / "images/framed/barred.jpg").read_bytes()
    outcome = clean.clean(folder, Options(crop_bottom={"framed": 20}, skip_rules=frozenset({"small"})))
    assert outcome.cropped == {"framed": 1}
    assert dropped(folder)["plain"] == "near-duplicate"  # now of the same size as the other, which is older
    row = catalog.read(folder).set_index("photo_id").loc["barred"]
    assert (row["file"], row["height"], row["cropped_bottom"]) == ("cropped/framed/barred-20.jpg", "200", "20")
    assert (folder / "images/framed/barred.jpg").read_bytes() == data
    catalog.check(folder, catalog.read(folder), hashes=True)


def test_a_near_duplicate_with_the_same_bar_is_found(folder: Path) -> None:
    image = jpeg(with_bar(scene(4)).resize((240, 176)), 95)
    catalog.append(folder, {"photo_id": "elsewhere", "source": "mirror", "constructor": "Boeing"}, image)
    clean.clean(folder, Options(crop_bottom={"framed": 20}, min_side=170))
    assert dropped(folder)["elsewhere"] == "near-duplicate"


def test_a_stretched_image_is_a_new_file_which_a_second_clean_does_not_stretch_again(folder: Path) -> None:
    original = contents(folder)
    skip = frozenset({"near-duplicate", "small"})
    options = Options(crop_bottom={"framed": 20}, stretch={"framed": 1.5}, skip_rules=skip)
    outcome = clean.clean(folder, options)
    assert (outcome.cropped, outcome.stretched) == ({"framed": 1}, {"framed": 1})
    row = catalog.read(folder).set_index("photo_id").loc["barred"]
    assert row["file"] == "stretched/framed/barred-20-x1.5.jpg"
    assert (row["width"], row["height"], row["cropped_bottom"], row["stretched"]) == ("450", "200", "20", "1.5")
    catalog.check(folder, catalog.read(folder), hashes=True)
    cleaned = contents(folder)
    assert clean.clean(folder, options).stretched == {}
    assert contents(folder) == cleaned
    clean.clean(folder, Options(crop_bottom={"framed": 30}, skip_rules=skip))
    assert catalog.read(folder).set_index("photo_id").loc["barred", "file"] == "stretched/framed/barred-30-x1.5.jpg"
    clean.undo(folder)
    assert contents(folder) == cleaned
    clean.undo(folder)
    assert contents(folder) == original


def test_images_are_not_cropped_by_more_than_half(folder: Path) -> None:
    outcome = clean.clean(folder, Options(crop_bottom={"framed": 120}))
    assert outcome.too_small_to_crop == {"framed": 1}
    assert outcome.cropped == {}


def test_duplicates_with_contradicting_labels_are_kept_for_review(folder: Path) -> None:
    outcome = clean.clean(folder)
    review = catalog.read(folder).set_index("photo_id")["review"]
    assert review["good"] == "constructor: its duplicate other has Boeing"
    assert review["other"] == "constructor: its duplicate good has Airbus"
    assert review["plain"] == ""
    assert set(outcome.review) == {"good", "other"}


def test_an_edit_after_a_clean_survives_its_undo(folder: Path) -> None:
    clean.clean(folder)
    path = folder / "catalog.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("Air, Ltd", "Air and Sea"), encoding="utf-8")
    catalog.append(folder, {"photo_id": "new", "source": "site", "constructor": "Airbus"}, jpeg(scene(9)))
    clean.undo(folder)
    frame = catalog.read(folder).set_index("photo_id")
    assert list(frame.index) == ["good", "tiny", "cabin", "barred", "copy", "broken", "plain", "again", "other", "new"]
    assert frame.loc["good", "airline"] == "Air and Sea"


@pytest.mark.parametrize("line_end", ["\r\n", ""])
def test_a_handwritten_catalog_is_cleaned_and_restored(tmp_path: Path, line_end: str) -> None:
    (tmp_path / "a b.jpg").write_bytes(jpeg(scene(1)))
    (tmp_path / "c.jpg").write_bytes(jpeg(scene(1), 50))
    text = 'photo_id,mood,file,constructor\r\n7,"sunny, warm",a b.jpg,AIRBUS\r\n8,,c.jpg,\r\n9,,gone.jpg,Boeing'
    (tmp_path / "catalog.csv").write_bytes(b"\xef\xbb\xbf" + (text + line_end).encode())
    original, data = catalog.read(tmp_path), (tmp_path / "catalog.csv").read_bytes()
    clean.clean(tmp_path)
    assert ids(tmp_path) == ["7"]
    assert dropped(tmp_path) == {"9": "broken", "8": "near-duplicate"}
    clean.undo(tmp_path)
    assert catalog.read(tmp_path).equals(original)
    assert (tmp_path / "catalog.csv").read_bytes() == (data if line_end else data + b"\r\n")


def test_an_import_recognizes_dropped_and_cropped_photos(tmp_path: Path) -> None:
    pictures = tmp_path / "Boeing 737-800"
    pictures.mkdir()
    for name, image in {"a": scene(1), "b": scene(2, (150, 100)), "c": with_bar(scene(3))}.items():
        (pictures / f"{name}.jpg").write_bytes(jpeg(image))
    out = tmp_path / "out"
    import_folder(pictures, out, source="own")
    clean.clean(out, Options(crop_bottom={"own": 10}, min_side=150))
    assert len(ids(out)) == 2
    outcome = import_folder(pictures, out, source="another")
    assert (outcome.stored, outcome.known) == (0, 3)


class Killed(BaseException):
    """A simulated kill: nothing catches it."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Raise Killed at the given step of writing: just before an fsync, rename, deletion or mkdir."""
    done: list[str] = []

    def mortal(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **options: object) -> object:
            done.append(name)
            if len(done) == step:
                raise Killed
            return real(*args, **options)

        return run

    with monkeypatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir")):
            patch.setattr(owner, name, mortal(name, getattr(owner, name)))
        yield done


def check_consistent(folder: Path, everything: set[str]) -> None:
    """Check that each photo is either in the catalog or dropped, and that each has its image."""
    frame = catalog.read(folder)
    catalog.check(folder, frame[frame["photo_id"] != "broken"], hashes=True)
    assert set(frame["photo_id"]) | set(dropped(folder)) == everything
    assert set(frame["photo_id"]) & set(dropped(folder)) == set()
    assert catalog.photo_ids(folder) == everything


@pytest.mark.slow
def test_a_kill_at_any_moment_of_a_clean_leaves_the_catalog_unchanged_or_cleaned(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(crop_bottom={"framed": 20})
    everything = set(ids(folder))
    clean.clean(folder, options, dry_run=True)  # fills the cache of scans, so that only writing remains
    original = contents(folder)
    cleaned = tmp_path / "cleaned"
    shutil.copytree(folder, cleaned)
    clean.clean(cleaned, options)
    remaining = ids(cleaned)
    for step in range(1, 200):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        with killed_at(step, monkeypatch) as done:
            try:
                clean.clean(copy, options)
            except Killed:
                pass
            else:
                assert len(done) < step
                assert ids(copy) == remaining
                break
        check_consistent(copy, everything)
        assert ids(copy) == ids(folder)  # a clean takes effect with its last step
        again = tmp_path / "again"
        shutil.rmtree(again, ignore_errors=True)
        shutil.copytree(copy, again)
        clean.clean(again, options)
        assert ids(again) == remaining
        check_consistent(again, everything)
        clean.undo(again)
        assert {file: data for file, data in contents(again).items() if ".part" not in file} == original
        with pytest.raises(CatalogError, match="nothing to undo"):
            clean.undo(copy)


def test_a_kill_at_any_moment_of_an_undo_leaves_the_catalog_cleaned_or_restored(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = ids(folder)
    clean.clean(folder, Options(crop_bottom={"framed": 20}))
    remaining = ids(folder)
    outcomes = set()
    for step in range(1, 100):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        with killed_at(step, monkeypatch) as done:
            try:
                clean.undo(copy)
            except Killed:
                pass
            else:
                assert len(done) < step
                break
        check_consistent(copy, set(everything))
        undone = ids(copy) == everything
        assert undone or ids(copy) == remaining
        outcomes.add(undone)
        if undone:
            with pytest.raises(CatalogError, match="nothing to undo"):
                clean.undo(copy)
        else:
            clean.undo(copy)
            assert ids(copy) == everything
    assert outcomes == {True, False}


def test_a_locked_catalog_is_not_cleaned(folder: Path) -> None:
    with exclusive_lock(folder):
        clean.clean(folder, dry_run=True)
        for work in (clean.clean, clean.undo):
            with pytest.raises(CatalogError, match="Another planespotter command is writing"):
                work(folder)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(crop_bottom={"nowhere": 20}), "no source 'nowhere'. Its sources: framed, site."),
        (Options(crop_bottom={"site": 0}), "crop of site is invalid: 0 rows. Give at least 1."),
        (Options(stretch={"nowhere": 2}), "no source 'nowhere'. Its sources: framed, site."),
        (Options(stretch={"site": 1}), "stretch of site is invalid: 1. Give a factor above 1, and at most 3"),
        (Options(stretch={"site": 3.5}), "stretch of site is invalid: 3.5. Give a factor above 1"),
        (
            Options(skip_rules=frozenset({"blurry"})),
            "Rule 'blurry' does not exist. The rules are broken, small, aspect-ratio,",
        ),
    ],
)
def test_invalid_options_are_rejected(folder: Path, options: Options, words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        clean.clean(folder, options)


def test_cleaning_does_not_create_a_catalog(tmp_path: Path) -> None:
    for work in (clean.clean, clean.undo):
        with pytest.raises(CatalogError, match="is not a catalog"):
            work(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["catalog", "clean", *arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_the_command_reports_its_result_and_how_to_undo_it(folder: Path) -> None:
    code, text = run(str(folder), "--dry-run")
    assert code == 0
    assert "9 photos: 5 would be dropped, 4 would be kept." in text
    assert "Nothing was changed. Run without --dry-run to apply." in text
    code, text = run(str(folder), "--crop-bottom", "framed=20", "--skip-rule", "small", "--caption-word", "Nonsense")
    assert code == 0
    assert "tiny: " not in text
    assert "cabin: Its caption has 'Cabin', so it may show the cabin." in text
    assert "9 photos: 5 were dropped, 4 kept." in text
    assert "1 image of framed was cropped at the bottom; the original is kept." in text
    assert "2 duplicates with contradicting labels: kept" in text
    assert f"To undo: planespotter catalog clean {folder} --undo" in text
    assert run(str(folder), "--undo", "--dry-run")[0] == 2
    code, text = run(str(folder), "--undo")
    assert (code, text) == (0, f"5 photos are in {folder} again, and 3 rows have their former values.\n")


def test_the_command_prints_json(folder: Path) -> None:
    code, text = run(str(folder), "--json")
    result = json.loads(text)
    assert code == 0
    assert (result["photos"], result["kept"], result["dry_run"]) == (9, 4, False)
    assert result["dropped_by_rule"] == {
        "broken": 1,
        "small": 1,
        "caption": 1,
        "exact-duplicate": 1,
        "near-duplicate": 1,
    }
    reason = "Its shorter side is 133 pixels, below 192."
    assert {"photo_id": "tiny", "rule": "small", "reason": reason} in result["dropped"]
    assert json.loads(run(str(folder), "--undo", "--json")[1]) == {"photos_back": 5, "rows_restored": 2}


def test_a_crop_is_suggested_for_a_source_whose_photos_have_a_bar(tmp_path: Path) -> None:
    for seed in range(14):
        catalog.append(tmp_path, {"photo_id": str(seed), "source": "framed"}, jpeg(with_bar(scene(seed))))
    code, text = run(str(tmp_path))
    assert code == 0
    assert "Most photos of framed end with a bar of 20 rows." in text
    assert "--crop-bottom framed=20" in text
    assert "14 photos: 0 were dropped, 14 kept." in text
    assert not (tmp_path / "dropped.csv").exists()
    assert "end with a bar" not in run(str(tmp_path), "--crop-bottom", "framed=20")[1]
    assert "end with a bar" not in run(str(tmp_path))[1]


def test_stretching_is_suggested_for_a_source_of_squares(tmp_path: Path) -> None:
    for seed in range(14):
        catalog.append(tmp_path, {"photo_id": str(seed), "source": "kit"}, jpeg(scene(seed, (200, 200))))
    suggestion = "All photos of kit are squares of one size."
    assert suggestion in run(str(tmp_path), "--dry-run")[1]
    code, text = run(str(tmp_path), "--stretch", "kit=1.5")
    assert code == 0
    assert "14 images of kit were stretched; the originals are kept." in text
    assert suggestion not in text
    assert suggestion not in run(str(tmp_path))[1]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--crop-bottom", "framed", "is not SOURCE=ROWS"),
        ("--stretch", "framed", "is not SOURCE=FACTOR"),
        ("--stretch", "framed=wide", "is not SOURCE=FACTOR"),
    ],
)
def test_an_invalid_crop_or_stretch_is_a_usage_error(folder: Path, option: str, value: str, words: str) -> None:
    code, text = run(str(folder), option, value)
    assert code == 2
    assert words in text


def test_the_command_and_the_rules_have_the_same_defaults() -> None:
    parameters = inspect.signature(clean_catalog).parameters
    for option in dataclasses.fields(Options):
        if option.name in parameters and parameters[option.name].default is not None:
            assert parameters[option.name].default == getattr(Options(), option.name), option.name
