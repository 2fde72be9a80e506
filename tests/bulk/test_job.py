"""Jobs: what a resumed run must match, and two runs on one output."""

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.bulk.jobs import answer_all, write_manifest

from planespotter_bulk import job
from planespotter_bulk.classifier import Options
from planespotter_bulk.job import JobError, bundle_sha256, check_fingerprint, default_bundle, fingerprint, lease
from planespotter_bulk.manifest import read_manifest
from planespotter_bulk.storage import Folder, open_folder
from planespotter_models import read_bundle


@pytest.fixture
def answers(tmp_path: Path) -> Folder:
    return open_folder(str(tmp_path / "answers"))


def test_same_manifest_bundle_and_options_resume(tmp_path: Path, answers: Folder, tiny_bundle: Path) -> None:
    bundle, manifest = read_bundle(tiny_bundle), read_manifest(write_manifest(tmp_path / "manifest", ["a.jpg"]))
    for _ in range(2):
        check_fingerprint(answers, fingerprint(manifest, bundle, bundle_sha256(tiny_bundle), Options()))


def test_another_manifest_bundle_or_option_is_rejected(tmp_path: Path, answers: Folder, tiny_bundle: Path) -> None:
    bundle, manifest = read_bundle(tiny_bundle), read_manifest(write_manifest(tmp_path / "manifest", ["a.jpg"]))
    first = fingerprint(manifest, bundle, "a" * 64, Options())
    check_fingerprint(answers, first)
    other_manifest = read_manifest(write_manifest(tmp_path / "manifest", ["a.jpg", "b.jpg"]))
    for other, message in (
        (
            fingerprint(manifest, bundle, "b" * 64, Options()),
            "the bundle tiny 1 (aaaaaaaaaaaa), not tiny 1 (bbbbbbbbbbbb)",
        ),
        (fingerprint(other_manifest, bundle, "a" * 64, Options()), "another manifest, or this one before it changed"),
        (replace(first, options=Options(top_k=3)), "--top-k 0, not 3"),
        (replace(first, options=Options(block_photos=10)), "--block-photos 2048, not 10"),
    ):
        with pytest.raises(JobError) as raised:
            check_fingerprint(answers, other)
        assert f"answers was started with {message}. Use the same to resume" in str(raised.value)


def test_answers_without_their_job_are_rejected(tmp_path: Path, answers: Folder, tiny_bundle: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest", ["a.jpg"])
    answer_all(manifest, answers.uri, tiny_bundle)
    with pytest.raises(JobError, match=r"has answers, but lacks the file _job/job\.json"):
        check_fingerprint(answers, fingerprint(read_manifest(manifest), read_bundle(tiny_bundle), "a", Options()))


def test_second_job_on_the_same_output_is_rejected(answers: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "RENEW_SECONDS", 0.1)
    with (
        lease(answers),
        pytest.raises(JobError, match=r"Another job writes to .*answers: process \d+ on "),
        lease(answers),
    ):
        pass
    with lease(answers):
        pass  # the first one has ended


def test_lease_of_a_killed_job_on_this_machine_is_taken_over_at_once(answers: Folder) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    holder = {"run": "x", "host": socket.gethostname(), "pid": int(done.stdout), "renewed": 3}
    answers.write(job.LEASE, json.dumps(holder).encode())
    with lease(answers):
        assert json.loads(answers.read(job.LEASE) or b"")["pid"] == os.getpid()


def test_lease_of_a_killed_job_on_another_machine_expires(answers: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "EXPIRE_SECONDS", 0.2)
    answers.write(job.LEASE, json.dumps({"run": "x", "host": "elsewhere", "pid": 1, "renewed": 3}).encode())
    with lease(answers):
        assert json.loads(answers.read(job.LEASE) or b"")["pid"] == os.getpid()
    assert answers.read(job.LEASE) is None
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_default_bundle_is_the_installed_model() -> None:
    assert read_bundle(default_bundle()).name == "airliners"
