"""Video source: decode frames of a file or a live stream at a fixed rate, as JPEGs."""

import functools
import io
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from planespotter_client._extras import install_command

JPEG_QUALITY = 90
# Timeout of `Video.close` for the frame that is being read: a camera may never send it.
CLOSE_TIMEOUT_SECONDS = 1.0
# After this many undecodable packets in a row the video is given up: a camera sends a key frame every few seconds.
MAX_DAMAGED_PACKETS = 1000


class VideoError(Exception):
    """The video cannot be read; the text says why and how to fix it."""


class VideoFrame(NamedTuple):
    """A frame: its time in seconds since the first one, and a function that encodes it as JPEG."""

    seconds: float
    encode: Callable[[], bytes]


class Video:
    """An open video: a file, or a stream such as rtsp://. `close` is safe while another thread reads.

    Packets that cannot be decoded are skipped and counted in `damaged_packets`.

    Raises:
        VideoError: The video cannot be opened, or, during `frames`, read.
    """

    def __init__(self, source: str, fps: float) -> None:
        self._av = _import_av()
        self._name = redact_credentials(source)
        self._fps = fps
        self._read_lock = threading.Lock()
        self._closed = False
        self.damaged_packets = 0
        try:
            # TCP loses no part of a frame; the second timeout (seconds) applies to each read.
            options = {"rtsp_transport": "tcp"} if source.startswith("rtsp") else {}
            self._container = self._av.open(source, options=options, timeout=(30.0, 30.0))
        except (self._av.FFmpegError, OSError) as error:
            raise VideoError(f"{self._name} cannot be opened as a video: {_reason(error)}.") from error
        if not self._container.streams.video:
            raise VideoError(f"{self._name} has no video track, only sound or text.")
        self._track = self._container.streams.video[0]
        self._track.thread_type = "AUTO"

    @property
    def expected_frames(self) -> int | None:
        """Approximate number of frames; None if it is unknown, as for a camera."""
        duration = self._container.duration  # microseconds
        return None if duration is None else int(duration / 1e6 * self._fps) + 1

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the first frame, then the first one of each following interval of 1/fps seconds, until closed."""
        start: float | None = None
        due = 0
        rate = float(self._track.average_rate or 25)
        try:
            for number, frame in enumerate(self._decode()):
                time = frame.time if frame.time is not None else number / rate
                start = time if start is None else start
                seconds = time - start
                if seconds * self._fps < due - 1e-6:
                    continue
                due = int(seconds * self._fps + 1e-6) + 1
                yield VideoFrame(seconds, functools.partial(_encode_jpeg, frame))
        except (self._av.FFmpegError, OSError) as error:
            raise VideoError(f"{self._name} cannot be read to its end: {_reason(error)}.") from error

    def _decode(self) -> Iterator[Any]:
        packets = self._container.demux(self._track)
        damaged_in_a_row, any_frame = 0, False
        while True:
            with self._read_lock:
                packet = None if self._closed else next(packets, None)
                if packet is None:
                    break
                try:
                    frames = packet.decode()
                except self._av.FFmpegError as error:  # a damaged packet; demux() raises for a broken connection
                    last_error, frames = error, []
                    self.damaged_packets += 1
                    damaged_in_a_row += 1
            if frames:
                damaged_in_a_row, any_frame = 0, True
            elif damaged_in_a_row == MAX_DAMAGED_PACKETS:
                raise last_error
            yield from frames
        if damaged_in_a_row and not any_frame and not self._closed:
            raise last_error

    def close(self) -> None:
        """Close the video, or leave it to the end of the process if a read does not return."""
        self._closed = True
        # FFmpeg frees its read buffers: closing during a read would crash the process.
        if self._read_lock.acquire(timeout=CLOSE_TIMEOUT_SECONDS):
            self._container.close()
            self._read_lock.release()


def redact_credentials(source: str) -> str:
    """Return `source` without the user name and password of a URL, so that it may be logged."""
    return re.sub(r"^(\w+://)[^/?#]*@", r"\1", source)


def _import_av() -> Any:
    try:
        import av
        import PIL.Image  # noqa: F401
    except ModuleNotFoundError as error:
        raise VideoError(
            f"Videos need the package {error.name!r}, which comes with the 'video' extra: {install_command('video')}"
        ) from error
    av.logging.set_level(None)  # its log of damaged frames would mix with the results
    return av


def _encode_jpeg(frame: Any) -> bytes:
    image = frame.to_image()
    if frame.rotation:  # metadata of phone videos
        image = image.rotate(frame.rotation, expand=True)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).rstrip(".")
