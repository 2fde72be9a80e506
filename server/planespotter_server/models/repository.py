"""Model repository: load new versions from a folder while serving; drain and unload old ones.

    FOLDER/NAME/VERSION/bundle.json

The highest versions of each name are served. A bundle that cannot be loaded is logged once, and the versions that were
served stay; it is retried when its files change. One that is still being copied is loaded when it is complete. One that
takes long to load, or never ends, delays no other. A model whose folder is emptied stays too, so that an accidental
deletion does not stop the service.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from planespotter_models import BundleError, IncompleteBundleError
from planespotter_server.models.registry import ModelRegistry, natural_order
from planespotter_server.serving.served_model import ServedModel
from planespotter_server.settings import ServerError

# How long a bundle that is loading delays others; after that, they load in parallel.
PARALLEL_AFTER_SECONDS = 60.0
# An incomplete bundle counts as damaged, not as being copied, once its files have not changed for this long.
COPY_STALL_SECONDS = 30.0
# While a server has no model yet, it looks at the folder again as soon as a bundle has loaded or failed, and this often
# for other changes.
STARTUP_POLL_SECONDS = 1.0

log = structlog.get_logger()

Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class BundleFolder:
    """A bundle in the repository.

    Attributes:
        name: Name of the model.
        version: Version of the model.
        path: The folder.
        fingerprint: Changes whenever one of the files does.
        changed_at: When a file or the folder was last changed, in seconds since the epoch. Copying sets it even if it
            preserves the dates of the files.
    """

    name: str
    version: str
    path: Path
    fingerprint: Fingerprint
    changed_at: float = field(compare=False)


def scan(repository: Path) -> dict[str, list[BundleFolder]]:
    """Find the bundles in a repository.

    Returns:
        The bundles by name, the highest version first.

    Raises:
        ServerError: The folder cannot be read.
    """
    bundles: dict[str, list[BundleFolder]] = {}
    try:
        next(repository.iterdir(), None)  # glob would find nothing, and not report why
    except OSError as error:
        raise ServerError(
            f"The model repository {repository} cannot be read: {error.strerror}. It must contain "
            "NAME/VERSION/bundle.json for each model."
        ) from error
    for description in repository.glob("*/*/bundle.json"):
        path = description.parent
        if path.name.startswith(".") or path.parent.name.startswith("."):  # it is being written
            continue
        with contextlib.suppress(OSError):  # it is being moved or deleted
            files = sorted((file.name, file.stat()) for file in path.iterdir())
            fingerprint = tuple((name, status.st_size, status.st_mtime_ns) for name, status in files)
            changed_at = max(status.st_ctime for status in (path.stat(), *(status for _, status in files)))
            bundle = BundleFolder(path.parent.name, path.name, path, fingerprint, changed_at)
            bundles.setdefault(bundle.name, []).append(bundle)
    for versions in bundles.values():
        versions.sort(key=lambda bundle: natural_order(bundle.version), reverse=True)
    return bundles


async def load_in_time(loading: Awaitable[ServedModel], path: Path, seconds: float) -> ServedModel:
    """Wait for `loading` for at most `seconds`.

    Args:
        loading: Loads the model of the bundle.
        path: The bundle's folder, for the error.
        seconds: The setting `load_timeout`.

    Raises:
        ServerError: The model has not loaded in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await loading
    except TimeoutError:
        raise ServerError(
            f"The bundle in {path} has not loaded within load_timeout ({seconds:g} s), and may occupy a core until the "
            "server is restarted. Remove it, or raise the limit."
        ) from None


class ModelRepository:
    """Keeps a registry in step with a folder of bundles.

    Args:
        folder: The repository.
        registry: Receives the models.
        load: Loads, compiles and warms up the model of a bundle's folder.
        max_versions: Maximum number of versions served per model.
        load_timeout: Maximum seconds to load a bundle.
    """

    def __init__(
        self,
        folder: Path,
        registry: ModelRegistry,
        load: Callable[[Path], Awaitable[ServedModel]],
        max_versions: int = 1,
        load_timeout: float = 600.0,
    ) -> None:
        self._folder = folder
        self._registry = registry
        self._load = load
        self._max_versions = max_versions
        self._load_timeout = load_timeout
        self._loading: dict[BundleFolder, asyncio.Task[ServedModel]] = {}
        self._loaded: dict[BundleFolder, ServedModel] = {}
        self._failed: set[BundleFolder] = set()
        self._copying: set[Path] = set()
        self._unloading: set[asyncio.Task[None]] = set()
        self._scan_failed = False

    async def start(self) -> None:
        """Load the models.

        Raises:
            ServerError: No model can be served.
        """
        errors = await self.refresh()
        while not self._registry and (self._loading or self._copying):
            if self._loading:
                await asyncio.wait(
                    self._loading.values(), timeout=STARTUP_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
            else:
                await asyncio.sleep(STARTUP_POLL_SECONDS)
            errors += await self.refresh()
        if not self._registry:
            reason = errors[0] if errors else "It must contain NAME/VERSION/bundle.json for each model."
            raise ServerError(f"The model repository {self._folder} has no usable model. {reason}")

    async def watch(self, interval: float) -> None:
        """Look for changes every `interval` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.refresh()
                self._scan_failed = False
            except Exception as error:  # of any kind: the loaded models stay
                if not self._scan_failed:
                    message = str(error) if isinstance(error, ServerError) else None
                    log.error("repository_scan_failed", error=message, exc_info=None if message else error)
                self._scan_failed = True

    async def refresh(self) -> list[str]:
        """Update the registry to the current content of the folder; return the errors of bundles that failed."""
        bundles = await asyncio.to_thread(scan, self._folder)
        present = {bundle for versions in bundles.values() for bundle in versions}
        self._failed &= present
        self._copying &= {bundle.path for bundle in present}
        for bundle in self._loading.keys() - present:
            self._loading.pop(bundle).cancel()
        return [error for versions in bundles.values() for error in await self._update(versions)]

    async def _update(self, versions: list[BundleFolder]) -> list[str]:
        """Serve the highest usable `versions` of a model; return the errors of those that failed to load just now."""
        wanted: dict[BundleFolder, ServedModel] = {}
        errors: list[str] = []
        for bundle in versions:
            if len(wanted) == self._max_versions:
                break
            model = self._loaded.get(bundle)
            if model is None and bundle not in self._failed:
                model = await self._try_load(bundle, errors)
            if model is None:  # if a good version was overwritten by a broken one, the loaded one stays
                bundle = self._loaded_from(bundle.path) or bundle
                model = self._loaded.get(bundle)
            if model is not None:
                wanted[bundle] = model
        if wanted:
            self._switch(versions[0].name, wanted)
        return errors

    def _loaded_from(self, path: Path) -> BundleFolder | None:
        return next((bundle for bundle in self._loaded if bundle.path == path), None)

    async def _try_load(self, bundle: BundleFolder, errors: list[str]) -> ServedModel | None:
        loading = self._loading.get(bundle)
        if loading is None:
            if bundle.path not in self._copying:
                log.info("model_loading", model=bundle.name, version=bundle.version)
            loading = self._loading[bundle] = asyncio.create_task(
                load_in_time(self._load(bundle.path), bundle.path, self._load_timeout)
            )
            await asyncio.wait([loading], timeout=PARALLEL_AFTER_SECONDS)
        if not loading.done():
            return None
        del self._loading[bundle]
        try:
            model = await loading
            name, version = model.bundle.name, model.bundle.version
            if (name, version) != (bundle.name, bundle.version):
                await model.close()
                raise ServerError(
                    f"The bundle in {bundle.path} has another name and version: {name} {version}. Move it to "
                    f"{name}/{version}, or export it again with --name {bundle.name} --version {bundle.version}."
                )
        except Exception as error:  # a network can fail in any way when it is compiled or run
            if isinstance(error, IncompleteBundleError) and time.time() - bundle.changed_at < COPY_STALL_SECONDS:
                self._wait_for_copy(bundle)
            else:
                errors.append(self._fail(bundle, error))
            return None
        self._copying.discard(bundle.path)
        self._loaded[bundle] = model
        return model

    def _wait_for_copy(self, bundle: BundleFolder) -> None:
        if bundle.path not in self._copying:
            log.info("model_incomplete", model=bundle.name, version=bundle.version, then="load it once it is complete")
        self._copying.add(bundle.path)

    def _fail(self, bundle: BundleFolder, error: Exception) -> str:
        """Do not try `bundle` again until it changes; return what is wrong with it."""
        known = isinstance(error, ServerError | BundleError)
        message = str(error) if known else f"The bundle in {bundle.path} failed: {type(error).__name__}."
        log.error("model_load_failed", error=message, exc_info=None if known else error)
        self._copying.discard(bundle.path)
        self._failed.add(bundle)
        return message

    def _switch(self, name: str, wanted: dict[BundleFolder, ServedModel]) -> None:
        """Serve exactly `wanted` of the model `name`; drain and unload its other versions."""
        old = {model for bundle, model in self._loaded.items() if bundle.name == name and bundle not in wanted}
        new = [bundle for bundle, model in wanted.items() if model not in self._registry.all()]
        self._registry.put(name, {bundle.version: model for bundle, model in wanted.items()})
        self._loaded = {
            bundle: model for bundle, model in self._loaded.items() if bundle.name != name or bundle in wanted
        }
        for bundle in new:
            log.info("model_loaded", model=bundle.name, version=bundle.version)
        for model in old:
            task = asyncio.create_task(_drain_and_unload(model))
            self._unloading.add(task)
            task.add_done_callback(self._unloading.discard)


async def _drain_and_unload(model: ServedModel) -> None:
    await model.drain_and_close()
    log.info("model_unloaded", model=model.bundle.name, version=model.bundle.version)
