"""Supervisor: run one of several training processes as a child, and explain how it ended.

If another process is lost, the native code below JAX aborts this one: it prints a C++ stack, and no more Python code
runs. While this one waits for another in a collective operation, no Python signal handler runs. So the work is in a
child; its parent passes signals on, ends it if it does not stop, and turns the way it ended into a sentence.
"""

import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from planespotter_training.errors import TrainingError

EXIT_RESTART = 75
"""Exit code if the same command, run again in all processes, continues: EX_TEMPFAIL of sysexits.h."""
STOP_SECONDS = 60
"""Time to save a checkpoint after SIGTERM or Ctrl-C; later the child is killed."""
LEAVE_SECONDS = 3.0
"""Time to print an error; JAX would then wait for the other processes, which wait for this one."""

RESUME = "Run the same command in all processes: training resumes from the last checkpoint."
_LOST_IN_PYTHON = re.compile(
    r"gloo|nccl|coordination service|connection (closed|reset)|unavailable|barrier|timed out", re.I
)
_LOST_IN_NATIVE_CODE = b"JAX distributed service"
_NOT_STARTED = b"RegisterTask"


class ProcessLostError(TrainingError):
    """Another process of this training ended or does not respond."""

    exit_code = EXIT_RESTART


class ProcessKilledError(TrainingError):
    """The child was ended by a signal."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together."""

    coordinator: str
    """HOST:PORT of the first one."""
    count: int
    number: int
    """Number of this process, from 0."""


def read_environment() -> ProcessGroup | None:
    """Return the processes that train together, by JAX's variables; None if this one trains alone.

    Raises:
        TrainingError: The environment is incomplete.
    """
    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if not address:
        return None
    try:
        return ProcessGroup(address, int(os.environ["JAX_NUM_PROCESSES"]), int(os.environ["JAX_PROCESS_ID"]))
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"JAX_COORDINATOR_ADDRESS is {address}, so this is one of several processes, but JAX_NUM_PROCESSES and "
            "JAX_PROCESS_ID are not both whole numbers. Set them, or unset the address to train on this host alone."
        ) from error


@contextmanager
def supervised(out: Path) -> Iterator[None]:
    """Run the block in a child process if this is one of several processes; the parent ends like the child.

    Call it before JAX is imported: a child shares no threads with its parent.

    Args:
        out: Folder of the run; what native code printed is in native-NUMBER.log there if the child fails.

    Raises:
        TrainingError: The environment names the other processes incompletely.
        ProcessLostError: In the parent: the child ended because of another process.
        ProcessKilledError: In the parent: the child was ended by a signal.
        SystemExit: In the parent: with the exit code of the child.
    """
    group = read_environment()
    if group is None:
        yield
        return
    with tempfile.TemporaryFile() as native:
        readable, writable = os.pipe()  # the child reads the end of the pipe when its parent has ended
        child = os.fork()
        if child:
            os.close(readable)
            raise _explain(_wait(child), native, out / f"native-{group.number}.log", group)
        os.close(writable)
        _redirect_native_output(native)
    os.setpgid(0, 0)  # Ctrl-C in a terminal reaches the parent only, which passes it on
    threading.Thread(target=_end_with_parent, args=(readable,), daemon=True).start()
    try:
        yield
    except BaseException as error:
        ending = _lost(error) if is_lost(error) else error
        leave_soon(ending)
        raise ending from error.__cause__


def is_lost(error: BaseException) -> bool:
    """Whether JAX raised `error` because another process ended or does not respond."""
    return isinstance(error, ValueError | RuntimeError) and bool(_LOST_IN_PYTHON.search(str(error)))


def end_if_lost(error: BaseException) -> None:
    """Print a sentence and end this process with EXIT_RESTART if another one is lost."""
    if is_lost(error):
        print(f"error: {_lost(error)}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(EXIT_RESTART)


def leave_soon(error: BaseException) -> None:
    """End this process soon, with the exit code of `error`, unless all processes stop together.

    At exit JAX waits for all processes, and those that have not failed wait for this one.
    """
    code = getattr(error, "exit_code", getattr(error, "code", 1))
    if code in (0, 130):
        return
    timer = threading.Timer(LEAVE_SECONDS, os._exit, [code if isinstance(code, int) else 1])
    timer.daemon = True
    timer.start()


def not_started(group: ProcessGroup, cause: str) -> ProcessLostError:
    """Return the error for processes that did not find one another."""
    return ProcessLostError(
        f"Process {group.number} of {group.count} did not meet the others at {group.coordinator} in time{cause}. Start "
        "the same command in all processes, check the address, or allow more time with --start-timeout."
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error of JAX, whose details concern its developers."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _lost(error: BaseException) -> ProcessLostError:
    return ProcessLostError(
        f"Another process of this training ended or does not respond ({first_line(error)}). {RESUME}"
    )


def _redirect_native_output(native: IO[bytes]) -> None:
    """Let native code print into `native`; Python's standard error stays what it was."""
    encoding, errors = sys.stderr.encoding, "backslashreplace"
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding=encoding, errors=errors)
    os.dup2(native.fileno(), 2)
    os.environ["GRPC_VERBOSITY"] = "ERROR"  # NONE, which the SDK sets, would also hide why JAX aborts


def _end_with_parent(readable: int) -> None:
    os.read(readable, 1)  # returns when the parent, which holds the other end, has ended
    os._exit(EXIT_RESTART)


def _wait(child: int) -> int:
    """Wait for the child, and pass signals on to it; return its exit code, negative if a signal ended it.

    Raises:
        ProcessLostError: It did not stop when it was asked to, and was killed.
    """
    asked = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal asked
        os.kill(child, signal.SIGKILL if asked else number)  # a second signal ends it at once
        asked = True
        signal.alarm(STOP_SECONDS)

    def kill(_: int, __: FrameType | None) -> None:
        os.kill(child, signal.SIGKILL)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # which nohup does to SIGHUP
            signal.signal(number, stop)
    signal.signal(signal.SIGALRM, kill)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(0)
    if asked and code == -signal.SIGKILL:
        raise ProcessLostError(
            f"The training did not stop within {STOP_SECONDS} s of the signal, or got a second one, and was killed: it "
            f"may wait for another process that does not respond. {RESUME}"
        )
    return code


def _explain(code: int, native: IO[bytes], log: Path, group: ProcessGroup) -> BaseException:
    """Return how the parent ends, given the exit code of the child; keep what native code printed if it failed."""
    native.seek(0)
    printed = native.read()
    details = ""
    if code not in (0, 130) and printed and log.parent.is_dir():
        log.write_bytes(printed)
        details = f" What native code printed is in {log}."
    if code >= 0:
        return SystemExit(code)
    if _NOT_STARTED in printed:
        return not_started(group, "")
    if _LOST_IN_NATIVE_CODE in printed:
        return ProcessLostError(f"Another process of this training ended or does not respond. {RESUME}{details}")
    name = signal.Signals(-code).name
    cause = ": the machine may have run out of memory" if code == -signal.SIGKILL else ""
    return ProcessKilledError(f"The training was ended by {name}{cause}. {RESUME}{details}", 128 - code)
