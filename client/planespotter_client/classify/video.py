"""Frames of a video, a file or a stream, so many a second, as photos."""

import functools
import io
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

QUALITY = 90  # of the JPEG that a frame is sent as
# How long `Video.close` waits for the frame that is being read, in seconds: a camera may leave it hanging.
LAST_FRAME = 1.0
# So many packets in a row that cannot be decoded, and nothing ever will: a camera sends a whole picture, on which the
# others build, each few seconds.
MOST_DAMAGED = 1000


class FramesError(Exception):
    """The video cannot be read; the text says why and what to do."""


class Frame(NamedTuple):
    """A frame: where it is in its video, in seconds from the first, and how to make a JPEG of it."""

    seconds: float
    encoded: Callable[[], bytes]


class Video:
    """A video that is open. Raises FramesError, also while it is read. May be closed while another thread reads it.

    What cannot be decoded is left out and counted in `damaged`.
    """

    def __init__(self, source: str, fps: float) -> None:
        self._av = _av()
        self._name = without_password(source)
        self._fps = fps
        self._reading = threading.Lock()
        self._closed = False
        self.damaged = 0
        try:
            # Over TCP no part of a frame is lost; the second timeout (seconds) is for each read.
            options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
            self._container = self._av.open(source, options=options, timeout=(30.0, 30.0))
        except (self._av.FFmpegError, OSError) as error:
            raise FramesError(f"{self._name} cannot be opened as a video: {_why(error)}.") from error
        if not self._container.streams.video:
            raise FramesError(f"{self._name} holds no video, only sound or text.")
        self._track = self._container.streams.video[0]
        self._track.thread_type = "AUTO"

    @property
    def expected(self) -> int | None:
        """How many frames there will be, about; None if that is not known, as of a camera."""
        duration = self._container.duration  # microseconds
        return None if duration is None else int(duration / 1e6 * self._fps) + 1

    def frames(self) -> Iterator[Frame]:
        """Yield the first frame, and then the first one of each 1/fps seconds that follow; none once it is closed."""
        first: float | None = None
        due = 0
        rate = float(self._track.average_rate or 25)
        try:
            for number, frame in enumerate(self._decoded()):
                time = frame.time if frame.time is not None else number / rate
                first = time if first is None else first
                seconds = time - first
                if seconds * self._fps < due - 1e-6:
                    continue
                due = int(seconds * self._fps + 1e-6) + 1
                yield Frame(seconds, functools.partial(_jpeg, frame))
        except (self._av.FFmpegError, OSError) as error:
            raise FramesError(f"{self._name} cannot be read on: {_why(error)}.") from error

    def _decoded(self) -> Iterator[Any]:
        packets = self._container.demux(self._track)
        in_a_row, any_frame = 0, False
        while True:
            with self._reading:
                packet = None if self._closed else next(packets, None)
                if packet is None:
                    break
                try:
                    decoded = packet.decode()
                except self._av.FFmpegError as error:  # no connection that broke: that is for demux() to find
                    why, decoded = error, []
                    self.damaged += 1
                    in_a_row += 1
            if decoded:
                in_a_row, any_frame = 0, True
            elif in_a_row == MOST_DAMAGED:
                raise why
            yield from decoded
        if in_a_row and not any_frame and not self._closed:
            raise why

    def close(self) -> None:
        """Close the video, or leave that to the end of the process where its next frame does not come."""
        self._closed = True
        # FFmpeg frees what it reads with: under a thread that reads, the process would crash.
        if self._reading.acquire(timeout=LAST_FRAME):
            self._container.close()
            self._reading.release()


def without_password(source: str) -> str:
    """Return `source` as it may be written: the address of a camera without the name and password in it."""
    return re.sub(r"^(\w+://)[^/?#]*@", r"\1", source)


def _av() -> Any:
    try:
        import av
        import PIL.Image  # noqa: F401
    except ModuleNotFoundError as error:
        raise FramesError(
            f"Videos need the package {error.name!r}, which comes with the 'video' extra: "
            "pip install 'planespotter[video]'"
        ) from error
    av.logging.set_level(None)  # its notes on damaged frames would run into the answers
    return av


def _jpeg(frame: Any) -> bytes:
    image = frame.to_image()
    if frame.rotation:  # as a phone was held
        image = image.rotate(frame.rotation, expand=True)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")
