"""Which threads come first where there are more of them than cores."""

import contextlib
import os
import sys
import threading

# Five steps give a thread about a third of the time of one that has taken none.
NICENESS = 5


def give_way() -> None:
    """Let this thread, and those that it starts from now on, give way to the event loop.

    Decoding and the network take all cores that they can get. The loop needs little, but what it takes in late is
    answered late, refusals too. Within a container this moves nothing between it and others.
    """
    if sys.platform == "linux":  # where niceness is each thread's own
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # where it may not be changed
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
