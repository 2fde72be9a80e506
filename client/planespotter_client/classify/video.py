"""Video source: decode frames of a file or a live stream at a fixed rate, as JPEGs.

The time of a frame of a file is its position in the video. The frames of a live stream have the time of day at which
they arrived, and a lost connection is opened again.
"""

import functools
import io
import re
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, NamedTuple

from planespotter_client._extras import install_command
from planespotter_client.classify import serialization

JPEG_QUALITY = 90
# Timeout of `Video.close` for the frame that is being read: a camera may never send it.
CLOSE_TIMEOUT_SECONDS = 1.0
# After this many undecodable packets in a row the video is given up: a camera sends a key frame every few seconds.
MAX_DAMAGED_PACKETS = 1000
# Pause before a lost live stream is opened again.
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 30.0
DEVICE = "/dev/video"


class VideoError(Exception):
    """The video cannot be read; the text says why and how to fix it."""


class VideoFrame(NamedTuple):
    """A frame: its time, and a function that encodes it as JPEG.

    The time is in seconds since the first frame; in a live stream it is the time of day, in ISO 8601.
    """

    time: float | str
    encode: Callable[[], bytes]


class Video:
    """An open video: a file, or a stream such as rtsp://. `close` is safe while another thread reads.

    Packets that cannot be decoded are skipped and counted in `damaged_packets`.

    Args:
        source: File, URL or device.
        fps: Frames per second to yield.
        on_lost: Called with what happened each time the connection of a live stream is lost.

    Raises:
        VideoError: The video cannot be opened, or, during `frames`, read.
    """

    def __init__(self, source: str, fps: float, on_lost: Callable[[str], None] = lambda _: None) -> None:
        self._av = _import_av()
        self._source = source
        self._name = redact_credentials(source)
        self._fps = fps
        self._on_lost = on_lost
        self._read_lock = threading.Lock()
        self._closed = threading.Event()
        self.damaged_packets = 0
        self._container, self._track = self._open()
        self._duration: int | None = self._container.duration  # microseconds

    def _open(self) -> tuple[Any, Any]:
        """Return the container and its video track."""
        try:
            # TCP loses no part of a frame; the second timeout (seconds) applies to each read.
            options = {"rtsp_transport": "tcp"} if self._source.startswith("rtsp") else {}
            file_format = "v4l2" if self._source.startswith(DEVICE) else None
            container = self._av.open(self._source, format=file_format, options=options, timeout=(30.0, 30.0))
        except (self._av.FFmpegError, OSError) as error:
            raise VideoError(f"{self._name} cannot be opened as a video: {_reason(error)}.") from error
        if not container.streams.video:
            container.close()
            raise VideoError(f"{self._name} has no video track, only sound or text.")
        track = container.streams.video[0]
        track.thread_type = "AUTO"
        return container, track

    @property
    def expected_frames(self) -> int | None:
        """Approximate number of frames; None if it is unknown, as for a camera."""
        return None if self._duration is None else int(self._duration / 1e6 * self._fps) + 1

    @property
    def is_live(self) -> bool:
        """Whether it is a camera or another stream without an end."""
        return self._duration is None and ("://" in self._source or self._source.startswith(DEVICE))

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the first frame, then the first one of each following interval of 1/fps seconds, until closed.

        A live stream is sampled by the clock of this machine. It never ends: a lost connection is opened again, after
        a pause that grows up to MAX_BACKOFF_SECONDS.
        """
        return self._live_frames() if self.is_live else self._file_frames()

    def _file_frames(self) -> Iterator[VideoFrame]:
        start: float | None = None
        due = 0
        rate = float(self._track.average_rate or 25)
        for number, frame in enumerate(self._decode()):
            time = frame.time if frame.time is not None else number / rate
            start = time if start is None else start
            seconds = time - start
            if seconds * self._fps < due - 1e-6:
                continue
            due = int(seconds * self._fps + 1e-6) + 1
            yield VideoFrame(seconds, functools.partial(_encode_jpeg, frame))

    def _live_frames(self) -> Iterator[VideoFrame]:
        due = monotonic()
        backoff = MIN_BACKOFF_SECONDS
        while not self._closed.is_set():
            try:
                for frame in self._decode():
                    backoff = MIN_BACKOFF_SECONDS
                    if monotonic() < due:
                        continue
                    # The next multiple of the interval, so that late frames do not add up.
                    due = max(due + 1 / self._fps, monotonic() - 1 / self._fps)
                    yield VideoFrame(serialization.now(), functools.partial(_encode_jpeg, frame))
                why = f"{self._name} ended the stream."
            except VideoError as error:
                why = str(error)
            backoff = self._reconnect(why, backoff)

    def _reconnect(self, why: str, backoff: float) -> float:
        """Open the stream again, after pauses that start at `backoff`; return the next pause in seconds."""
        while not self._closed.is_set():
            self._on_lost(f"{why} Connecting again in {backoff:g} s, until Ctrl-C.")
            self._closed.wait(backoff)
            backoff = min(MAX_BACKOFF_SECONDS, 2 * backoff)
            with self._read_lock:
                if self._closed.is_set():
                    break
                self._container.close()
                try:
                    self._container, self._track = self._open()
                    break
                except VideoError as error:
                    why = str(error)
        return backoff

    def _decode(self) -> Iterator[Any]:
        """Yield all frames until the end, or until closed."""
        try:
            yield from self._decode_packets()
        except (self._av.FFmpegError, OSError) as error:
            raise VideoError(f"{self._name} cannot be read to its end: {_reason(error)}.") from error

    def _decode_packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._track)
        damaged_in_a_row, any_frame = 0, False
        while True:
            with self._read_lock:
                packet = None if self._closed.is_set() else next(packets, None)
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
        if damaged_in_a_row and not any_frame and not self._closed.is_set():
            raise last_error

    def close(self) -> None:
        """Close the video, or leave it to the end of the process if a read does not return."""
        self._closed.set()
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
