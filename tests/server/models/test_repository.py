"""Model repository: the highest usable version is served, and a broken one never replaces a good one."""

import asyncio
import functools
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from planespotter_models import Bundle, Engine, PredictionOptions, read_bundle, write_bundle
from planespotter_server.models.registry import ModelRegistry
from planespotter_server.models.repository import ModelRepository
from planespotter_server.serving.decoder_pool import DecoderPool
from planespotter_server.serving.served_model import Caller, ServedModel
from planespotter_server.settings import ServerError, Settings

Write = Callable[..., Path]
Open = Callable[..., ModelRepository]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def write(tmp_path: Path, loaded: tuple[Bundle, Engine]) -> Write:
    """Write a bundle to the folder `models`: `write("small", "2")`."""

    def write(name: str, version: str, bundle_version: str | None = None) -> Path:
        folder = tmp_path / "models" / name / version
        write_bundle(replace(loaded[0], name=name, version=bundle_version or version), folder)
        return folder

    return write


def damage(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


@pytest.fixture
async def models() -> ModelRegistry:
    return ModelRegistry()


@pytest.fixture
def repository(tmp_path: Path, loaded: tuple[Bundle, Engine], models: ModelRegistry) -> Open:
    """A repository in that folder; all its bundles share one compiled engine."""

    async def load(folder: Path) -> ServedModel:
        return ServedModel(read_bundle(folder), loaded[1], Settings())

    def open_repository(
        load: Callable[[Path], Awaitable[ServedModel]] = load, max_versions: int = 1, load_timeout: float = 600
    ) -> ModelRepository:
        return ModelRepository(tmp_path / "models", models, load, max_versions, load_timeout)

    return open_repository


def served(models: ModelRegistry) -> list[str]:
    return [f"{model.bundle.name} {model.bundle.version}" for model in models.all()]


async def test_highest_version_of_each_model_is_served(repository: Open, write: Write, models: ModelRegistry) -> None:
    for version in ("2", "10", "9"):
        write("small", version)
    write("large", "1")
    await repository().start()
    assert served(models) == ["large 1", "small 10"]


async def test_max_versions_are_served(repository: Open, write: Write, models: ModelRegistry) -> None:
    for version in ("1", "2", "3"):
        write("small", version)
    opened = repository(max_versions=2)
    await opened.start()
    assert served(models) == ["small 3", "small 2"]
    write("small", "4")
    await opened.refresh()
    assert served(models) == ["small 4", "small 3"]


async def test_new_versions_and_new_models_are_loaded(repository: Open, write: Write, models: ModelRegistry) -> None:
    write("small", "1")
    opened = repository()
    await opened.start()
    first = models.find("small")
    write("small", "2")
    write("tall", "1")
    await opened.refresh()
    assert served(models) == ["small 2", "tall 1"]
    second = models.find("small")
    await opened.refresh()
    assert models.find("small") is second is not first, "unchanged bundles are not loaded again"


async def test_broken_version_fails_to_load_and_the_old_one_stays(
    repository: Open,
    write: Write,
    models: ModelRegistry,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planespotter_server.models.repository.COPY_STALL_SECONDS", 0)
    write("small", "1")
    opened = repository()
    await opened.start()
    good = models.find()
    broken = write("small", "2")
    damage(broken)
    await opened.refresh()
    await opened.refresh()
    assert models.find() is good
    assert capsys.readouterr().out.count("weights.safetensors is damaged or was modified") == 1, "logged once"
    shutil.rmtree(broken)
    write("small", "2")
    await opened.refresh()
    assert served(models) == ["small 2"], "once it is complete it is loaded"


async def test_loaded_version_stays_if_its_files_are_overwritten_by_a_broken_bundle(
    repository: Open, write: Write, models: ModelRegistry
) -> None:
    write("small", "1")
    folder = write("small", "2")
    opened = repository()
    await opened.start()
    good = models.find()
    damage(folder)
    await opened.refresh()
    assert models.find() is good


def copy_slowly(source: Path, target: Path) -> Iterator[None]:
    """Copy a bundle in half files, with their dates; yield whenever the server could look at it."""
    target.mkdir(parents=True)
    yield
    for file in sorted(source.iterdir()):  # bundle.json comes first
        content = file.read_bytes()
        for size in (0, len(content) // 2, len(content)):
            (target / file.name).write_bytes(content[:size])
            os.utime(target / file.name, (1, 1))
            yield


async def test_bundle_that_is_copied_slowly_is_loaded_once_it_is_complete(
    repository: Open, write: Write, models: ModelRegistry, tmp_path: Path
) -> None:
    write("small", "1")
    opened = repository()
    await opened.start()
    source = write("small", "2").rename(tmp_path / "elsewhere")
    with structlog.testing.capture_logs() as logs:
        for _ in copy_slowly(source, tmp_path / "models" / "small" / "2"):
            assert served(models) == ["small 1"]
            await opened.refresh()
    assert served(models) == ["small 2"]
    events = [entry["event"] for entry in logs if entry["event"] != "model_unloaded"]
    assert events == ["model_loading", "model_incomplete", "model_loaded"]


async def test_copy_that_stalls_is_reported_once_and_loaded_when_it_resumes(
    repository: Open, write: Write, models: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("small", "1")
    opened = repository()
    await opened.start()
    folder = write("small", "2")
    weights = (folder / "weights.safetensors").rename(tmp_path / "weights")
    with structlog.testing.capture_logs() as logs:
        await opened.refresh()
        assert not [entry for entry in logs if entry["log_level"] == "error"]
        monkeypatch.setattr("planespotter_server.models.repository.COPY_STALL_SECONDS", 0)
        for _ in range(3):
            await opened.refresh()
        [error] = [entry for entry in logs if entry["log_level"] == "error"]
        assert "lacks weights.safetensors" in error["error"]
    weights.rename(folder / "weights.safetensors")
    await opened.refresh()
    assert served(models) == ["small 2"]


async def test_server_that_starts_while_its_only_bundle_is_copied_waits_for_it(
    repository: Open, write: Write, models: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planespotter_server.models.repository.STARTUP_POLL_SECONDS", 0.01)
    weights = (write("small", "1") / "weights.safetensors").rename(tmp_path / "weights")
    with structlog.testing.capture_logs() as logs:
        starting = asyncio.create_task(repository().start())
        await asyncio.sleep(0.3)
        assert not starting.done()
        weights.rename(tmp_path / "models" / "small" / "1" / "weights.safetensors")
        await starting
    assert served(models) == ["small 1"]
    assert [entry["event"] for entry in logs] == ["model_loading", "model_incomplete", "model_loaded"]


async def test_server_whose_only_bundle_is_never_completed_does_not_start(
    repository: Open, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planespotter_server.models.repository.COPY_STALL_SECONDS", 0.5)
    (write("small", "1") / "weights.safetensors").unlink()
    with pytest.raises(ServerError, match=r"lacks weights\.safetensors .*Copy the bundle again"):
        await repository().start()


async def test_changed_files_reload_a_version(repository: Open, write: Write, models: ModelRegistry) -> None:
    folder = write("small", "1")
    opened = repository()
    await opened.start()
    previous = models.find()
    os.utime(folder / "bundle.json", ns=(1, 1))
    await opened.refresh()
    assert served(models) == ["small 1"]
    assert models.find() is not previous


async def test_deleting_the_highest_version_falls_back_and_deleting_all_changes_nothing(
    repository: Open, write: Write, models: ModelRegistry, tmp_path: Path
) -> None:
    write("small", "1")
    second = write("small", "2")
    opened = repository()
    await opened.start()
    shutil.rmtree(second)
    await opened.refresh()
    assert served(models) == ["small 1"]
    shutil.rmtree(tmp_path / "models" / "small")
    await opened.refresh()
    assert served(models) == ["small 1"]


async def test_bundle_in_the_folder_of_another_fails_to_load(
    repository: Open, write: Write, models: ModelRegistry
) -> None:
    write("small", "2", bundle_version="1")
    with pytest.raises(
        ServerError, match=r"has another name and version: small 1\. Move it to small/1, or export it again"
    ):
        await repository().start()


async def test_hidden_folders_are_ignored(repository: Open, write: Write, models: ModelRegistry) -> None:
    write("small", "1")
    write("small", ".2.new.17")
    await repository().start()
    assert served(models) == ["small 1"]


async def test_network_that_does_not_compile_fails_to_load(
    repository: Open, write: Write, models: ModelRegistry, loaded: tuple[Bundle, Engine]
) -> None:
    async def load(folder: Path) -> ServedModel:
        if folder.name == "2":
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return ServedModel(read_bundle(folder), loaded[1], Settings())

    write("small", "1")
    write("small", "2")
    await repository(load).start()
    assert served(models) == ["small 1"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: None, "cannot be read: No such file"),
        (lambda folder: folder.write_text(""), "cannot be read: Not a directory"),
        (lambda folder: folder.mkdir(), "has no usable model.* NAME/VERSION/bundle.json"),
    ],
)
async def test_repository_without_models_is_an_error(
    repository: Open, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "models")
    with pytest.raises(ServerError, match=message):
        await repository().start()


async def test_watch_survives_a_missing_folder(
    repository: Open, write: Write, models: ModelRegistry, tmp_path: Path, until: Until
) -> None:
    write("small", "1")
    opened = repository()
    await opened.start()
    watching = asyncio.create_task(opened.watch(0.01))
    with structlog.testing.capture_logs() as logs:
        (tmp_path / "models").rename(tmp_path / "elsewhere")
        await until(lambda: logs)
        assert [entry["event"] for entry in logs] == ["repository_scan_failed"]
    (tmp_path / "elsewhere").rename(tmp_path / "models")
    write("small", "2")
    await until(lambda: served(models) == ["small 2"])
    watching.cancel()


async def test_switching_versions_fails_no_photo(
    repository: Open, write: Write, models: ModelRegistry, paint: Callable[..., bytes], until: Until
) -> None:
    """Callers use the current model while new versions are loaded."""
    write("small", "1")
    opened = repository()
    await opened.start()
    photo, decoders, seen = paint("747"), DecoderPool(2), set[str]()
    done = False

    async def call() -> None:
        while not done:
            model = models.find()
            prediction = await model.classify(photo, PredictionOptions(), Caller(), decoders)
            assert prediction.label.family == "747"
            seen.add(model.bundle.version)

    async with asyncio.TaskGroup() as callers:
        for _ in range(8):
            callers.create_task(call())
        for version in map(str, range(2, 6)):
            write("small", version)
            await opened.refresh()
            await until(functools.partial(seen.__contains__, version))
        done = True
    assert seen == set("12345")
    decoders.close()


async def test_bundle_that_never_ends_to_load_delays_neither_the_next_nor_requests(
    repository: Open,
    write: Write,
    models: ModelRegistry,
    loaded: tuple[Bundle, Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planespotter_server.models.repository.PARALLEL_AFTER_SECONDS", 0.05)

    async def load(folder: Path) -> ServedModel:
        if folder.name == "2":
            await asyncio.Event().wait()
        return ServedModel(read_bundle(folder), loaded[1], Settings())

    write("small", "1")
    opened = repository(load)
    await opened.start()
    write("small", "2")
    await opened.refresh()
    assert served(models) == ["small 1"]
    write("small", "3")
    await opened.refresh()
    assert served(models) == ["small 3"]


async def test_bundle_that_takes_too_long_at_the_start_is_skipped(
    repository: Open,
    write: Write,
    models: ModelRegistry,
    loaded: tuple[Bundle, Engine],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planespotter_server.models.repository.PARALLEL_AFTER_SECONDS", 0.01)

    async def load(folder: Path) -> ServedModel:
        await asyncio.sleep(0.05 if folder.name == "1" else 3600)
        return ServedModel(read_bundle(folder), loaded[1], Settings())

    write("small", "1")
    write("small", "2")
    opened = repository(load, load_timeout=0.5)
    await opened.start()
    assert served(models) == ["small 1"]
    await asyncio.sleep(0.5)
    await opened.refresh()
    assert "has not loaded within load_timeout (0.5 s)" in capsys.readouterr().out


async def test_server_does_not_start_if_no_bundle_loads_in_time(repository: Open, write: Write) -> None:
    async def load(_: Path) -> ServedModel:
        await asyncio.Event().wait()
        raise AssertionError

    write("small", "1")
    with pytest.raises(ServerError, match="has not loaded within load_timeout"):
        await repository(load, load_timeout=0.05).start()
