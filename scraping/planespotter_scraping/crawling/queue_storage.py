"""The queue of pages on the disk: one that was cut short is gone on with, unless it is too old or half written."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crawlee import service_locator
from crawlee.configuration import Configuration
from crawlee.storage_clients import FileSystemStorageClient
from crawlee.storages import RequestQueue

FRESH = timedelta(days=1)  # how long a queue is worth going on with


async def open_queue(configuration: Configuration, storage: FileSystemStorageClient) -> RequestQueue:
    """Return the queue of a walk that was cut short, or a new one."""
    try:
        queue = await RequestQueue.open(configuration=configuration, storage_client=storage)
        modified = (await queue.get_metadata()).modified_at
        # One that is finished has only escaped its removal.
        if not await queue.is_finished() and datetime.now(UTC) - modified < FRESH:
            return queue
        service_locator.storage_instance_manager.remove_from_cache(queue)
    except (OSError, ValueError):  # half written
        pass
    shutil.rmtree(configuration.storage_dir, ignore_errors=True)
    return await RequestQueue.open(configuration=configuration, storage_client=storage)


def scratch(queues: Path) -> str:
    """Return an empty folder for the browsers' profiles: where a kill leaves one behind, the next walk removes it."""
    folder = queues.resolve() / "browsers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return str(folder)
