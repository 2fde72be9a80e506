"""A folder of models: the highest usable version is served, a broken one never takes the place of a good one."""

import asyncio
import functools
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from planespotter_models import Bundle, Engine, read_bundle, write_bundle
from planespotter_server.models.registry import Models
from planespotter_server.models.repository import Library
from planespotter_server.serving.served_model import Caller, DecoderPool, ServedModel
from planespotter_server.settings import ServerError, Settings

Write = Callable[..., Path]
Open = Callable[..., Library]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def write(tmp_path: Path, loaded: tuple[Bundle, Engine]) -> Write:
    """Write a bundle to the folder `models`: `write("small", "2")`."""

    def write(name: str, version: str, calls_itself: str | None = None) -> Path:
        folder = tmp_path / "models" / name / version
        write_bundle(replace(loaded[0], name=name, version=calls_itself or version), folder)
        return folder

    return write


def damage(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


@pytest.fixture
async def models() -> Models:
    return Models()


@pytest.fixture
def library(tmp_path: Path, loaded: tuple[Bundle, Engine], models: Models) -> Open:
    """A library of that folder; all its bundles share one compiled engine."""

    async def load(folder: Path) -> ServedModel:
        return ServedModel(read_bundle(folder), loaded[1], Settings())

    def open_library(load: Callable[[Path], Awaitable[ServedModel]] = load, versions: int = 1) -> Library:
        return Library(tmp_path / "models", models, load, versions)

    return open_library


def served(models: Models) -> list[str]:
    return [f"{model.bundle.name} {model.bundle.version}" for model in models.all()]


async def test_of_each_model_the_highest_version_is_served(library: Open, write: Write, models: Models) -> None:
    for version in ("2", "10", "9"):
        write("small", version)
    write("large", "1")
    await library().start()
    assert served(models) == ["large 1", "small 10"]


async def test_several_versions_are_served_if_asked_for(library: Open, write: Write, models: Models) -> None:
    for version in ("1", "2", "3"):
        write("small", version)
    kept = library(versions=2)
    await kept.start()
    assert served(models) == ["small 3", "small 2"]
    write("small", "4")
    await kept.refresh()
    assert served(models) == ["small 4", "small 3"]


async def test_a_new_version_takes_over_and_a_new_model_joins(library: Open, write: Write, models: Models) -> None:
    write("small", "1")
    kept = library()
    await kept.start()
    first = models.find("small")
    write("small", "2")
    write("tall", "1")
    await kept.refresh()
    assert served(models) == ["small 2", "tall 1"]
    second = models.find("small")
    await kept.refresh()
    assert models.find("small") is second is not first, "what has not changed is not loaded again"


async def test_a_broken_version_is_refused_and_the_old_one_stays(
    library: Open, write: Write, models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    write("small", "1")
    kept = library()
    await kept.start()
    good = models.find()
    broken = write("small", "2")
    damage(broken)
    await kept.refresh()
    await kept.refresh()
    assert models.find() is good
    assert capsys.readouterr().out.count("weights.safetensors is damaged or was modified") == 1, "told once"
    shutil.rmtree(broken)
    write("small", "2")
    await kept.refresh()
    assert served(models) == ["small 2"], "once it is whole it is taken"


async def test_a_version_that_is_replaced_by_a_broken_one_stays_as_it_was(
    library: Open, write: Write, models: Models
) -> None:
    write("small", "1")
    folder = write("small", "2")
    kept = library()
    await kept.start()
    good = models.find()
    damage(folder)
    await kept.refresh()
    assert models.find() is good


async def test_a_version_that_is_replaced_in_its_place_is_loaded_anew(
    library: Open, write: Write, models: Models
) -> None:
    folder = write("small", "1")
    kept = library()
    await kept.start()
    before = models.find()
    os.utime(folder / "bundle.json", ns=(1, 1))
    await kept.refresh()
    assert served(models) == ["small 1"]
    assert models.find() is not before


async def test_deleting_the_highest_goes_back_to_the_one_below_and_deleting_all_changes_nothing(
    library: Open, write: Write, models: Models, tmp_path: Path
) -> None:
    write("small", "1")
    second = write("small", "2")
    kept = library()
    await kept.start()
    shutil.rmtree(second)
    await kept.refresh()
    assert served(models) == ["small 1"]
    shutil.rmtree(tmp_path / "models" / "small")
    await kept.refresh()
    assert served(models) == ["small 1"]


async def test_a_bundle_in_the_place_of_another_is_refused(library: Open, write: Write, models: Models) -> None:
    write("small", "2", calls_itself="1")
    with pytest.raises(ServerError, match=r"calls itself small 1\. Move it to small/1, or export it again"):
        await library().start()


async def test_what_is_still_being_written_is_not_looked_at(library: Open, write: Write, models: Models) -> None:
    write("small", "1")
    write("small", ".2.new.17")
    await library().start()
    assert served(models) == ["small 1"]


async def test_a_network_that_cannot_be_compiled_is_refused_whatever_it_raises(
    library: Open, write: Write, models: Models, loaded: tuple[Bundle, Engine]
) -> None:
    async def load(folder: Path) -> ServedModel:
        if folder.name == "2":
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return ServedModel(read_bundle(folder), loaded[1], Settings())

    write("small", "1")
    write("small", "2")
    await library(load).start()
    assert served(models) == ["small 1"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda _: None, "cannot be read: No such file"),
        (lambda folder: folder.write_text(""), "cannot be read: Not a directory"),
        (lambda folder: folder.mkdir(), "no model to serve in .* NAME/VERSION/bundle.json"),
    ],
)
async def test_a_folder_without_models_gets_a_sentence(
    library: Open, tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    make(tmp_path / "models")
    with pytest.raises(ServerError, match=sentence):
        await library().start()


async def test_the_watch_survives_a_folder_that_goes_away(
    library: Open, write: Write, models: Models, tmp_path: Path, until: Until
) -> None:
    write("small", "1")
    kept = library()
    await kept.start()
    watching = asyncio.create_task(kept.watch(0.01))
    (tmp_path / "models").rename(tmp_path / "elsewhere")
    await asyncio.sleep(0.1)
    (tmp_path / "elsewhere").rename(tmp_path / "models")
    write("small", "2")
    await until(lambda: served(models) == ["small 2"])
    watching.cancel()


async def test_switching_fails_no_photo(
    library: Open, write: Write, models: Models, paint: Callable[..., bytes], until: Until
) -> None:
    """Callers take whatever model there is, while versions come one after another."""
    write("small", "1")
    kept = library()
    await kept.start()
    photo, decoders, seen = paint("747"), DecoderPool(2), set[str]()
    done = False

    async def call() -> None:
        while not done:
            model = models.find()
            answer = await model.classify(photo, 0, Caller(), decoders)
            assert answer.label.family == "747"
            seen.add(model.bundle.version)

    async with asyncio.TaskGroup() as callers:
        for _ in range(8):
            callers.create_task(call())
        for version in map(str, range(2, 6)):
            write("small", version)
            await kept.refresh()
            await until(functools.partial(seen.__contains__, version))
        done = True
    assert seen == set("12345")
    decoders.close()
