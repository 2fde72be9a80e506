"""Thread priority: decoding and inference yield the processor to the event loop."""

import contextlib
import os
import sys
import threading

# Five steps of niceness leave a thread about a third of the time that one with unchanged niceness gets.
NICENESS = 5


def lower_priority() -> None:
    """Raise the niceness of this thread and of those it starts from now on, so that the event loop goes first.

    Decoding and the network use all cores they can get. The loop needs little, but each of its delays delays responses,
    rejections too. Inside a container this changes nothing between it and other containers.
    """
    if sys.platform == "linux":  # where niceness is per thread
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # the system may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
