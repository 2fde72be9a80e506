"""Rendering into a catalog: plan the pictures, render them in processes, and append each with its labels.

A picture depends on the seed, the model and its number alone. So the run is resumable: it skips the catalog's pictures.
"""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from planespotter_scraping import catalog
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.images.similarity import phash
from planespotter_scraping.render.airliner_models import AirlinerModel, find_models
from planespotter_scraping.render.background import read_backgrounds
from planespotter_scraping.render.errors import ModelError, RenderError
from planespotter_scraping.render.pictures import ModelRenderer, Picture, photo_id

LICENCE = "GPL-2.0-or-later"
HOME_PAGE = "https://www.flightgear.org/"
BATCH = 8  # pictures per task of a process


@dataclass(frozen=True)
class Task:
    """Pictures of one model to render."""

    model: AirlinerModel
    root: Path
    seed: int
    numbers: tuple[int, ...]
    size: tuple[int, int]
    backgrounds: tuple[Path, ...]


@dataclass
class RenderResult:
    """Result of a run.

    Attributes:
        stored: Pictures added to the catalog.
        known: Pictures that the catalog had already.
        total: Pictures to add in this run.
        models: Models found.
        skipped: Sentences about models that could not be used, by model.
    """

    stored: int = 0
    known: int = 0
    total: int = 0
    models: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def render_catalog(
    folder: Path,
    out: Path,
    *,
    count: int,
    models: str = "*",
    seed: int = 0,
    size: tuple[int, int] = (480, 320),
    workers: int = 1,
    backgrounds: Path | None = None,
    progress: Callable[[RenderResult], None] = lambda result: None,
    on_picture: Callable[[Picture], None] = lambda picture: None,
) -> RenderResult:
    """Render models into a catalog. Ctrl-C loses nothing: the next run continues.

    Args:
        folder: Folder of models in FlightGear's format, searched recursively.
        out: Folder of the catalog, created if needed.
        count: Pictures per model.
        models: Glob of the names of models to render.
        seed: Seed of all pictures.
        size: Width and height in pixels.
        workers: Number of processes.
        backgrounds: Folder of photos for some of the backgrounds.
        progress: Called after each picture with the result so far.
        on_picture: Called with each new picture.

    Raises:
        RenderError: If the folder has no matching model, or if the background photos cannot be used.
        CatalogError: If the catalog cannot be used.
    """
    folder = folder.resolve()
    result = RenderResult()
    matching = []
    for number, item in enumerate(find_models(folder)):
        if isinstance(item, ModelError):
            result.skipped[f"file {number}"] = str(item)
        elif fnmatch(item.variant.name, models):
            matching.append(item)
    result.models = len(matching)
    if not matching:
        raise RenderError(
            f"The folder {folder} has no airliner model whose name matches {models!r}. Name a folder with FlightGear's "
            "AI/Aircraft, such as the unpacked Debian package flightgear-data-ai, and check --model."
        )
    photos = tuple(read_backgrounds(backgrounds)) if backgrounds else ()
    out.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(out):
        known = catalog.photo_ids(out)
        tasks = []
        for model in matching:
            ids = [photo_id(model.variant.name, seed, number) for number in range(count)]
            missing = [number for number, id_ in enumerate(ids) if id_ not in known]
            result.known += count - len(missing)
            result.total += len(missing)
            batches = (tuple(missing[start : start + BATCH]) for start in range(0, len(missing), BATCH))
            tasks += [Task(model, folder, seed, numbers, size, photos) for numbers in batches]
        progress(result)
        for task, picture in _render_tasks(tasks, workers):
            if isinstance(picture, ModelError):
                result.skipped[task.model.variant.name] = str(picture)
                continue
            catalog.append(out, _row(task, picture), picture.jpeg)
            result.stored += 1
            on_picture(picture)
            progress(result)
    return result


def _row(task: Task, picture: Picture) -> dict[str, str]:
    """Return the catalog row of a picture."""
    variant = task.model.variant
    return {
        "photo_id": picture.photo_id,
        "source": catalog.RENDER_SOURCE,
        "page_url": HOME_PAGE,
        "constructor": variant.constructor,
        "aircraft_type": variant.aircraft_type,
        "airline": picture.airline,
        "photographer": f"FlightGear model by {task.model.author or 'its contributors'}",
        "licence": LICENCE,
        "width": str(task.size[0]),
        "height": str(task.size[1]),
        "scraped_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "phash": phash(picture.jpeg),
        "scene": picture.description,
    }


def _render_tasks(tasks: list[Task], workers: int) -> Iterator[tuple[Task, Picture | ModelError]]:
    """Render in order, in this process or in several."""
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            for item in _render_each(task):
                yield task, item
        return
    context = get_context("spawn")  # a fork would copy the threads of libraries in an unknown state
    with ProcessPoolExecutor(workers, context, initializer=_ignore_interrupt) as pool:
        try:
            for task, items in zip(tasks, pool.map(_render_all, tasks), strict=True):
                for item in items:
                    yield task, item
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _render_each(task: Task) -> Iterator[Picture | ModelError]:
    """Render the pictures of a task; a model that cannot be used ends it."""
    try:
        renderer = _renderer(task.model, task.root)
        for number in task.numbers:
            yield renderer.picture(task.seed, number, task.size, task.backgrounds)
    except ModelError as error:
        yield error


def _render_all(task: Task) -> list[Picture | ModelError]:
    """Render the pictures of a task in a worker process."""
    return list(_render_each(task))


def _ignore_interrupt() -> None:
    """Ignore Ctrl-C in a worker process: the main process ends the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@lru_cache(maxsize=2)
def _renderer(model: AirlinerModel, root: Path) -> ModelRenderer:
    """Load a model once for all its tasks."""
    return ModelRenderer(model, root)
