"""A folder of bundles by name and version: find them, load what is new, put it to work, let the old one go.

    FOLDER/NAME/VERSION/bundle.json

Of each name the highest versions are served. A bundle that cannot be used is refused with its sentence in the log, and
what was served stays; it is tried again once its files change. A model of which nothing is left in the folder stays
too, so that no slip of a hand stops the service.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from planespotter_models import BundleError
from planespotter_server.models.registry import Models, natural_order
from planespotter_server.serving.served_model import ServedModel
from planespotter_server.settings import ServerError

log = structlog.get_logger()

Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Found:
    """A bundle in the folder; `fingerprint` changes whenever one of its files does."""

    name: str
    version: str
    folder: Path
    fingerprint: Fingerprint


def find(folder: Path) -> dict[str, list[Found]]:
    """Return the bundles in `folder` by name, the highest version first. Raises ServerError if it cannot be read."""
    found: dict[str, list[Found]] = {}
    try:
        next(folder.iterdir(), None)  # glob would find nothing, and not say why
    except OSError as error:
        raise ServerError(
            f"The folder of models {folder} cannot be read: {error.strerror}. It must hold NAME/VERSION/bundle.json "
            "for each model."
        ) from error
    for description in folder.glob("*/*/bundle.json"):
        bundle = description.parent
        if bundle.name.startswith(".") or bundle.parent.name.startswith("."):  # it is being written
            continue
        with contextlib.suppress(OSError):  # it is being moved or deleted
            files = sorted((file.name, file.stat()) for file in bundle.iterdir())
            fingerprint = tuple((name, status.st_size, status.st_mtime_ns) for name, status in files)
            one = Found(bundle.parent.name, bundle.name, bundle, fingerprint)
            found.setdefault(one.name, []).append(one)
    for versions in found.values():
        versions.sort(key=lambda one: natural_order(one.version), reverse=True)
    return found


class Library:
    """Keeps `models` in step with `folder`. `load` makes a classifier, compiled and warmed, of a bundle's folder."""

    def __init__(
        self, folder: Path, models: Models, load: Callable[[Path], Awaitable[ServedModel]], versions: int = 1
    ) -> None:
        self._folder = folder
        self._models = models
        self._load = load
        self._versions = versions
        self._loaded: dict[Found, ServedModel] = {}
        self._refused: set[Found] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        self._troubled = False
        self.loading = False
        """Whether a thread is compiling, which cannot be interrupted."""

    async def start(self) -> None:
        """Load what is there. Raises ServerError if nothing can be served."""
        found = await asyncio.to_thread(find, self._folder)
        refusals = [refusal for versions in found.values() for refusal in await self._update(versions)]
        if not self._models:
            why = refusals[0] if refusals else "It must hold NAME/VERSION/bundle.json for each model."
            raise ServerError(f"There is no model to serve in {self._folder}. {why}")

    async def watch(self, seconds: float) -> None:
        """Look for changes every so many seconds, for ever."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
                self._troubled = False
            except Exception as error:  # whatever it is, what is served stays
                if not self._troubled:
                    sentence = str(error) if isinstance(error, ServerError) else None
                    log.error("models_not_read", error=sentence, exc_info=None if sentence else error)
                self._troubled = True

    async def refresh(self) -> None:
        """Bring `models` in step with the folder."""
        found = await asyncio.to_thread(find, self._folder)
        self._refused &= {one for versions in found.values() for one in versions}
        for versions in found.values():
            await self._update(versions)

    async def _update(self, versions: list[Found]) -> list[str]:
        """Serve the highest usable ones of `versions` of one model; return why others were refused just now."""
        wanted: dict[Found, ServedModel] = {}
        refusals: list[str] = []
        for found in versions:
            if len(wanted) == self._versions:
                break
            classifier = self._loaded.get(found)
            if classifier is None and found not in self._refused:
                classifier = await self._try(found, refusals)
            if classifier is None:  # it may have been replaced by something broken: then the good one stays
                found = self._before(found) or found
                classifier = self._loaded.get(found)
            if classifier is not None:
                wanted[found] = classifier
        if wanted:
            self._switch(versions[0].name, wanted)
        return refusals

    def _before(self, found: Found) -> Found | None:
        """Return the bundle that was loaded from the same place."""
        return next((one for one in self._loaded if one.folder == found.folder), None)

    async def _try(self, found: Found, refusals: list[str]) -> ServedModel | None:
        log.info("model_loading", model=found.name, version=found.version)
        try:
            self.loading = True
            classifier = await self._load(found.folder)
            self.loading = False
            bundle = classifier.bundle
            if (bundle.name, bundle.version) != (found.name, found.version):
                await classifier.close()
                raise ServerError(
                    f"The bundle in {found.folder} calls itself {bundle.name} {bundle.version}. Move it to "
                    f"{bundle.name}/{bundle.version}, or export it again with --name {found.name} "
                    f"--version {found.version}."
                )
        except Exception as error:  # a network may fail in any way when it is compiled or run
            self.loading = False
            known = isinstance(error, ServerError | BundleError)
            sentence = str(error) if known else f"The bundle in {found.folder} failed: {type(error).__name__}."
            log.error("model_refused", error=sentence, exc_info=None if known else error)
            self._refused.add(found)
            refusals.append(sentence)
            return None
        self._loaded[found] = classifier
        return classifier

    def _switch(self, name: str, wanted: dict[Found, ServedModel]) -> None:
        before = {classifier for one, classifier in self._loaded.items() if one.name == name and one not in wanted}
        new = [one for one, classifier in wanted.items() if classifier not in self._models.all()]
        self._models.put(name, {one.version: classifier for one, classifier in wanted.items()})
        self._loaded = {
            one: classifier for one, classifier in self._loaded.items() if one.name != name or one in wanted
        }
        for one in new:
            log.info("model_ready", model=one.name, version=one.version)
        for classifier in before:
            task = asyncio.create_task(_retire(classifier))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


async def _retire(classifier: ServedModel) -> None:
    await classifier.drain_and_close()
    log.info("model_retired", model=classifier.bundle.name, version=classifier.bundle.version)
