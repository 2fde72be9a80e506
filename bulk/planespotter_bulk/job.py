"""Job: the fingerprint that a resumed run must match, and the lease that keeps a second run away.

Both are files in `_job/` of the answers. The lease is renewed every few seconds; a run that finds one waits to see
whether it changes, which needs no common clock. Two runs at a time would waste work, but not damage anything: a block
has the same answers regardless of who computes it.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import planespotter_models
from planespotter_bulk.answers import PART
from planespotter_bulk.classifier import Options
from planespotter_bulk.errors import BulkError
from planespotter_bulk.manifest import Manifest
from planespotter_bulk.storage import Folder, StorageError
from planespotter_models import Bundle

JOB, LEASE = "_job/job.json", "_job/lease.json"
RENEW_SECONDS, EXPIRE_SECONDS = 5.0, 20.0


class JobError(BulkError):
    """The answers belong to another job, or another run is writing them."""


@dataclass(frozen=True)
class Fingerprint:
    """What the answers of a job depend on.

    Attributes:
        manifest: Digest of the manifest.
        bundle: Name, version and SHA-256 of the bundle.
        options: The options.
    """

    manifest: str
    bundle: tuple[str, str, str]
    options: Options


def default_bundle() -> Path:
    """Return the folder of the installed model, in its highest version."""
    versions = (planespotter_models.FOLDER / "airliners").glob("*/bundle.json")
    return max(versions, key=lambda path: int(path.parent.name)).parent


def bundle_sha256(folder: Path) -> str:
    """Return the SHA-256 in bundle.json, which covers every file of the bundle; `read_bundle` has verified it."""
    return str(json.loads((folder / "bundle.json").read_text(encoding="utf-8"))["sha256"])


def fingerprint(manifest: Manifest, bundle: Bundle, sha256: str, options: Options) -> Fingerprint:
    """Return the fingerprint of a job."""
    return Fingerprint(manifest.digest, (bundle.name, bundle.version, sha256), options)


def check_fingerprint(answers: Folder, expected: Fingerprint) -> None:
    """Compare the fingerprint with that of the answers, and write it if there are none.

    Raises:
        JobError: The answers belong to another bundle, manifest or options, or there are answers without a fingerprint.
    """
    content = answers.read(JOB)
    if content is None:
        if any(PART.fullmatch(entry.name) for entry in answers.entries()):
            raise JobError(f"{answers} has answers, but lacks the file {JOB} of their job. Name another --out.")
        answers.write(JOB, json.dumps(asdict(expected), indent=2).encode() + b"\n")
        return
    job = json.loads(content)
    found_bundle, found_options = tuple(job["bundle"]), job["options"]
    differences = [
        f"--{name.replace('_', '-')} {found_options.get(name)}, not {value}"
        for name, value in asdict(expected.options).items()
        if found_options.get(name) != value
    ]
    if found_bundle != expected.bundle:
        differences.insert(0, f"the bundle {_describe(found_bundle)}, not {_describe(expected.bundle)}")
    if job["manifest"] != expected.manifest:
        differences.insert(0, "another manifest, or this one before it changed")
    if differences:
        raise JobError(
            f"{answers} was started with {'; '.join(differences)}. Use the same to resume, or name another folder with "
            "--out."
        )


def _describe(bundle: tuple[str, ...]) -> str:
    name, version, sha256 = bundle
    return f"{name} {version} ({sha256[:12]})"


@contextlib.contextmanager
def lease(answers: Folder) -> Iterator[None]:
    """Hold the lease of the answers while the block runs.

    Raises:
        JobError: Another run holds it.
    """
    holder: dict[str, Any] = {"run": uuid.uuid4().hex, "host": socket.gethostname(), "pid": os.getpid()}
    _wait_for_lease(answers)
    stop = threading.Event()

    def renew() -> None:
        count = 0
        while True:
            with contextlib.suppress(StorageError):  # the workers report it
                answers.write(LEASE, json.dumps({**holder, "renewed": (count := count + 1)}).encode())
            if stop.wait(RENEW_SECONDS):
                return

    answers.write(LEASE, json.dumps({**holder, "renewed": 0}).encode())
    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(RENEW_SECONDS)
        with contextlib.suppress(StorageError):
            answers.delete(LEASE)


def _wait_for_lease(answers: Folder) -> None:
    content = answers.read(LEASE)
    if content is None or _holder_is_dead(content):
        return
    deadline = time.monotonic() + EXPIRE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = answers.read(LEASE)
        if now is None:
            return
        if now != content:
            run = json.loads(now)
            raise JobError(
                f"Another job writes to {answers}: process {run['pid']} on {run['host']}. Wait for it to end, or name "
                "another folder with --out."
            )


def _holder_is_dead(content: bytes) -> bool:
    """Return whether the holder was a process on this machine that has ended."""
    run = json.loads(content)
    if run["host"] != socket.gethostname():
        return False
    try:
        os.kill(run["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
