"""Queue storage: the request queue on disk, which an interrupted crawl resumes unless it is stale or damaged."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crawlee import service_locator
from crawlee.configuration import Configuration
from crawlee.storage_clients import FileSystemStorageClient
from crawlee.storages import RequestQueue

MAX_AGE = timedelta(days=1)  # an older queue is discarded


async def open_queue(configuration: Configuration, storage: FileSystemStorageClient) -> RequestQueue:
    """Open the queue of an interrupted crawl, or a new one."""
    try:
        queue = await RequestQueue.open(configuration=configuration, storage_client=storage)
        modified = (await queue.get_metadata()).modified_at
        # A finished queue is here only if a kill prevented its removal.
        if not await queue.is_finished() and datetime.now(UTC) - modified < MAX_AGE:
            return queue
        service_locator.storage_instance_manager.remove_from_cache(queue)
    except (OSError, ValueError):  # partially written
        pass
    shutil.rmtree(configuration.storage_dir, ignore_errors=True)
    return await RequestQueue.open(configuration=configuration, storage_client=storage)


def empty_profile_folder(queues: Path) -> str:
    """Create an empty folder for browser profiles, and remove those that a killed crawl left there."""
    folder = queues.resolve() / "browsers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return str(folder)
