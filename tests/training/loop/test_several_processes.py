"""Training in several processes: one that is lost or stuck ends all with a sentence, and the same command resumes."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.training.loop.runs import steps, weights

from planespotter_training.errors import TrainingError
from planespotter_training.loop import supervisor, watchdog
from planespotter_training.loop.watchdog import Watchdog

SETTINGS = (
    "height=32",
    "width=48",
    "channel_multiplier=0.03125",
    "batch_size=8",
    "min_photos=5",
    "epochs=12",
    "steps_per_epoch=4",
    "warmup_epochs=0",
    "train_from=heads",
    "learning_rate=0.01",
    "shift=0",
    "zoom=0",
    "brightness_contrast=0",
    "channel_mixing=0",
    "flip=false",
)
STEPS = 48
# Seconds that devices of a process wait for one another; the defaults of 30 and 40 are too short for a busy machine.
LONG_TIMEOUTS = "--xla_cpu_collective_call_terminate_timeout_seconds=600 --xla_cpu_collective_timeout_seconds=600"
Training = subprocess.Popen[str]
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory, paint_catalog: Callable[[Path, int], Path]) -> Path:
    return paint_catalog(tmp_path_factory.mktemp("painted") / "catalog", 80)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, painted: Path) -> Path:
    """A run of one device that nothing interrupts."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    with started(painted, out) as [process]:
        assert process.wait(300) == 0
    return out


@contextmanager
def started(
    folder: Path, out: Path, processes: int = 1, devices: int = 1, port: int = 0, options: Sequence[str] = ()
) -> Iterator[list[Training]]:
    """Start the same command in each process, with its output in OUT-NUMBER.txt; kill what is left at the end."""
    words = [word for setting in SETTINGS for word in ("--set", setting)]
    command = [sys.executable, "-m", "planespotter_client.commands.main", "train", str(folder), "--out", str(out)]
    flags = f"--xla_force_host_platform_device_count={devices} {LONG_TIMEOUTS}"
    several = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": str(processes)}
    with ExitStack() as stack:
        group = []
        for number in range(processes):
            environment = {**os.environ, "XLA_FLAGS": flags, **(several if processes > 1 else {})}
            file = stack.enter_context(errors_of(out, number).open("w"))
            process = subprocess.Popen(
                [*command, *words, "--device-cache-gib", "0", *options],
                env={**environment, "JAX_PROCESS_ID": str(number)},
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.callback(process.wait)
            stack.callback(send, process, signal.SIGKILL)
            group.append(process)
        yield group


def errors_of(out: Path, number: int) -> Path:
    return out.with_name(f"{out.name}-{number}.txt")


def send(process: Training, number: signal.Signals) -> None:
    """Send a signal to a process and its children."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for each in [*parent.children(recursive=True), parent]:
            each.send_signal(number)


def wait_for_checkpoint(out: Path, process: Training) -> None:
    """Wait until the checkpoint of the first epoch, of four steps, is complete."""
    for _ in range(6000):
        if (out / "checkpoints" / "4").is_dir():
            return
        assert process.poll() is None, errors_of(out, 0).read_text()
        time.sleep(0.01)
    pytest.fail("no epoch was completed")


def check_same(out: Path, unbroken: Path) -> None:
    """Check that a run has the weights and the log lines of an unbroken one."""
    for expected, actual in zip(weights(unbroken), weights(out), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    assert [row["step"] for row in steps(out)] == list(range(1, STEPS + 1))
    assert [json.loads(line)["epoch"] for line in (out / "log.jsonl").read_text().splitlines()] == list(range(1, 13))
    for expected_row, row in zip(steps(unbroken), steps(out), strict=True):
        assert row["loss"] == pytest.approx(expected_row["loss"], abs=1e-5)
    assert (out / "final_metrics.json").is_file()


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("number", "victim", "processes", "devices"),
    [
        (signal.SIGKILL, 0, 2, 1),
        (signal.SIGKILL, 1, 1, 1),
        (signal.SIGSTOP, 0, 1, 4),
        (signal.SIGSTOP, 1, 2, 1),
    ],
    ids=("killed-0", "killed-1", "stopped-0", "stopped-1"),
)
def test_the_same_command_resumes_after_a_process_was_killed_or_got_stuck(
    number: signal.Signals,
    victim: int,
    processes: int,
    devices: int,
    painted: Path,
    unbroken: Path,
    tmp_path: Path,
    reserved_port: int,
) -> None:
    out = tmp_path / "run"
    timeouts = ("--heartbeat-timeout", "5", "--start-timeout", "120")
    with started(painted, out, 2, port=reserved_port, options=timeouts) as group:
        wait_for_checkpoint(out, group[0])
        time.sleep(random.uniform(0, 0.5))
        send(group[victim], number)
        since = time.monotonic()
        survivor = group[1 - victim]
        assert survivor.wait(60) == supervisor.EXIT_RESTART
        log.info("%s of process %d: the other ended after %.1f s", number.name, victim, time.monotonic() - since)
    text = errors_of(out, 1 - victim).read_text()
    assert text.count("error: ") == 1, text
    assert "does not respond" in text
    assert "Run the same command in all processes" in text.replace("\n", " ")
    assert "stack trace" not in text
    assert 0 < len(steps(out)) < STEPS, "it was interrupted"
    with started(painted, out, processes, devices, reserved_port, timeouts) as group:
        codes = [process.wait(300) for process in group]
    assert codes == [0] * processes, errors_of(out, 0).read_text()
    assert "Resuming at step" in errors_of(out, 0).read_text()
    check_same(out, unbroken)


@pytest.mark.chaos
def test_sigterm_ends_a_process_that_waits_for_a_stuck_one(painted: Path, tmp_path: Path, reserved_port: int) -> None:
    out = tmp_path / "run"
    options = ("--heartbeat-timeout", "600", "--start-timeout", "120", "--stall-factor", "100000")
    with started(painted, out, 2, port=reserved_port, options=options) as group:
        wait_for_checkpoint(out, group[0])
        send(group[1], signal.SIGSTOP)
        group[0].terminate()
        time.sleep(3)
        assert group[0].poll() is None, "it waits for the other to save a checkpoint"
        group[0].terminate()  # the second signal; after the first one it would take a minute
        assert group[0].wait(10) == supervisor.EXIT_RESTART
    assert "did not stop within 60 s of the signal, or got a second one" in errors_of(out, 0).read_text()


@pytest.mark.chaos
def test_the_watchdog_ends_processes_of_which_one_is_stuck_and_shows_where(
    painted: Path, tmp_path: Path, reserved_port: int
) -> None:
    """The stuck process keeps sending heartbeats: only its main thread waits."""
    out = tmp_path / "run"
    options = ("--heartbeat-timeout", "5", "--start-timeout", "120", "--stall-factor", "20")
    (tmp_path / "sitecustomize.py").write_text(STUCK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        with started(painted, out, 2, port=reserved_port, options=options) as group:
            codes = [process.wait(120) for process in group]
    assert codes == [supervisor.EXIT_RESTART] * 2
    texts = [errors_of(out, number).read_text() for number in range(2)]
    assert all("does not respond" in text for text in texts), texts
    [stalled, *_] = [text for text in texts if "No training step has completed for" in text]
    assert 'loop/train.py", line' in stalled
    assert all("stack trace" not in text for text in texts)


STUCK = """
import os, threading, time
if os.environ.get("JAX_PROCESS_ID") == "1":
    import planespotter_training.loop.train_log as module
    original = module.TrainLog.add
    def add(self, step, *rest):
        if step == 10:
            threading.Event().wait()
        original(self, step, *rest)
    module.TrainLog.add = add
"""


@pytest.mark.slow
def test_a_process_that_does_not_meet_the_others_in_time_says_so(
    painted: Path, tmp_path: Path, reserved_port: int
) -> None:
    with started(painted, tmp_path / "run", 2, port=reserved_port, options=("--start-timeout", "1")) as group:
        send(group[1], signal.SIGKILL)
        assert group[0].wait(60) == supervisor.EXIT_RESTART
    text = errors_of(tmp_path / "run", 0).read_text().replace("\n", " ")
    assert "did not meet the others at 127.0.0.1:" in text
    assert "--start-timeout" in text


def test_an_incomplete_environment_is_an_error_before_a_process_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1234")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.delenv("JAX_PROCESS_ID", raising=False)
    with (
        pytest.raises(TrainingError, match="JAX_PROCESS_ID are not both whole numbers"),
        supervisor.supervised(tmp_path),
    ):
        pytest.fail("it continued")


# ---------------------------------------------------------------- the parent of a training process

CHILD = """
import os, signal, sys, time
from pathlib import Path
from planespotter_training.errors import TrainingError
from planespotter_training.loop import supervisor
supervisor.STOP_SECONDS = 1
try:
    with supervisor.supervised(Path(sys.argv[1])):
        exec(sys.argv[2])
except TrainingError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(getattr(error, "exit_code", 1))
"""


def supervise(out: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a supervised child."""
    several = {"JAX_COORDINATOR_ADDRESS": "unused:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    command = [sys.executable, "-c", CHILD, str(out), code]
    return subprocess.run(
        command, env={**os.environ, **several}, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_exit_code_and_the_messages_of_the_child_pass_through(tmp_path: Path) -> None:
    done = supervise(tmp_path, "print('trained', file=sys.stderr); sys.exit(130)")
    assert (done.returncode, done.stderr) == (130, "trained\n")
    assert supervise(tmp_path, "pass").returncode == 0


def test_a_native_abort_because_of_a_lost_process_becomes_a_sentence(tmp_path: Path) -> None:
    native = (
        "F1130 client.h:80] Terminating process because the JAX distributed service detected fatal errors.\\n  @ 0x7f8e"
    )
    done = supervise(tmp_path, f"os.write(2, b'{native}'); os.abort()")
    assert done.returncode == supervisor.EXIT_RESTART
    [line] = done.stderr.splitlines()
    assert line.startswith("error: Another process of this training ended or does not respond. Run the same command")
    assert "0x7f8e" in (tmp_path / "native-1.log").read_text()


def test_an_error_of_the_collective_library_becomes_a_sentence(tmp_path: Path) -> None:
    done = supervise(tmp_path, "raise ValueError('UNKNOWN: Gloo AllGather failed: Connection closed by peer')")
    assert done.returncode == supervisor.EXIT_RESTART
    assert done.stderr.startswith("error: Another process of this training ended or does not respond (UNKNOWN: Gloo")


def test_a_child_that_runs_out_of_memory_is_explained(tmp_path: Path) -> None:
    done = supervise(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == 128 + signal.SIGKILL
    assert "ended by SIGKILL: the machine may have run out of memory" in done.stderr


def test_a_failed_process_does_not_wait_for_the_others_at_its_exit(tmp_path: Path) -> None:
    code = "import atexit; atexit.register(time.sleep, 50); raise TrainingError('the disk is full')"
    done = supervise(tmp_path, code)
    assert (done.returncode, done.stderr) == (1, "error: the disk is full\n")


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getppid(), signal.SIGTERM); time.sleep(50)"
    done = supervise(tmp_path, code)
    assert done.returncode == supervisor.EXIT_RESTART
    assert "did not stop within 1 s of the signal" in done.stderr


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    done = supervise(tmp_path, "print(os.getpid(), flush=True); os.kill(os.getppid(), signal.SIGKILL); time.sleep(50)")
    assert done.returncode == -signal.SIGKILL
    for _ in range(100):
        if not psutil.pid_exists(int(done.stdout)) or psutil.Process(int(done.stdout)).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the child still runs")


# ---------------------------------------------------------------- the watchdog


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 0.01)


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it did not happen")


def test_a_step_that_takes_much_longer_than_usual_is_reported_once(ticks: None) -> None:
    stalls: list[str] = []
    with Watchdog(5, 0.1, active=True, end=stalls.append) as dog:
        for _ in range(6):
            dog.step()
            time.sleep(0.01)
        assert dog.limit == pytest.approx(0.1, abs=0.05)
        assert not stalls
        wait_for(lambda: stalls)
        time.sleep(0.3)
    assert len(stalls) == 1
    assert "another process does not respond" in stalls[0]


def test_compilation_validation_and_checkpoints_may_take_longer_than_a_step(ticks: None) -> None:
    stalls: list[str] = []
    with Watchdog(2, 0.05, active=True, end=stalls.append) as dog:
        dog.step()
        time.sleep(0.2)  # the first steps are compiled
        for _ in range(5):
            dog.step()
        with dog.phase():
            assert dog.limit == watchdog.PHASE_SECONDS
            time.sleep(0.2)
        dog.step()
        assert dog.limit < 1, "the time of the phase is not that of a step"
    time.sleep(0.1)
    assert not stalls


def test_a_process_that_trains_alone_is_not_watched(ticks: None) -> None:
    stalls: list[str] = []
    with Watchdog(2, 0.01, active=False, end=stalls.append) as dog:
        for _ in range(5):
            dog.step()
        time.sleep(0.2)
    assert not stalls
