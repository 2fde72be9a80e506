"""A raw HTTP/2 client: it sends what no gRPC client would, such as unfinished messages, and reads only when asked."""

import select
import socket
import time
from collections.abc import Iterable
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

SERVICE = b"/planespotter.v1.ClassifierService/"


def grpc_frame(message: bytes, *, compressed: bool = False) -> bytes:
    """Return a gRPC message with its prefix: the compression flag and the length."""
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


def call_headers(path: bytes, extra: Iterable[tuple[bytes, bytes]] = ()) -> list[tuple[bytes, bytes]]:
    """Return the headers of a gRPC call."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *extra,
    ]


class H2Client:
    """An HTTP/2 connection over plaintext.

    Args:
        address: HOST:PORT.
        window: Initial window of each stream in bytes; 0 to read no response; None for the default.
        greeting: Whether to send the connection preface and settings.
    """

    def __init__(self, address: str, window: int | None = None, *, greeting: bool = True) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout=30)
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
            )
        )
        self.is_open = True
        self.ended: set[int] = set()
        """Streams that the server has ended or reset."""
        self.statuses: dict[int, bytes] = {}
        """The grpc-status of each stream that has one."""
        self._window = window
        if window is not None:
            codes = h2.settings.SettingCodes
            self._connection.local_settings = h2.settings.Settings(
                client=True, initial_values={codes.INITIAL_WINDOW_SIZE: window, codes.ENABLE_PUSH: 0}
            )
        self._connection.initiate_connection()
        if greeting:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def open(self, path: bytes, extra: Iterable[tuple[bytes, bytes]] = ()) -> int:
        """Send the headers of a call; return its stream."""
        stream = self._connection.get_next_available_stream_id()
        self._connection.send_headers(stream, call_headers(path, extra))
        self._flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False, timeout: float = 10.0) -> int:
        """Send data as far as the server's windows allow within `timeout` seconds; return the number of bytes sent."""
        sent, until = 0, time.monotonic() + timeout
        while sent < len(data) and self.is_open and stream not in self.ended and time.monotonic() < until:
            window = self._connection.local_flow_control_window(stream)
            size = min(window, self._connection.max_outbound_frame_size, len(data) - sent)
            if size <= 0:
                self.receive(0.05)
                continue
            self._connection.send_data(stream, data[sent : sent + size])
            sent += size
            self._flush()
            self.receive(0.0)
        if end and sent == len(data) and self.is_open and stream not in self.ended:
            self._connection.end_stream(stream)
            self._flush()
        return sent

    def send_raw(self, data: bytes) -> None:
        """Send any bytes."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_open = False

    def receive(self, seconds: float) -> None:
        """Process what arrives within `seconds`, at least what has arrived already."""
        until = time.monotonic() + seconds
        while self.is_open:
            readable, _, _ = select.select([self.socket], [], [], max(0.0, until - time.monotonic()))
            if not readable:
                return
            try:
                data = self.socket.recv(1 << 20)
                events = self._connection.receive_data(data)
            except (OSError, h2.exceptions.ProtocolError):
                data, events = b"", []
            self.is_open = bool(data)
            for event in events:
                self._process(event)
            self._flush()

    def _process(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.StreamEnded() | h2.events.StreamReset():
                self.ended.add(event.stream_id)
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                status = dict(event.headers).get(b"grpc-status")
                if status is not None:
                    self.statuses[event.stream_id] = status
            case h2.events.DataReceived() if self._window is None:
                self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.ConnectionTerminated():
                self.is_open = False

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data:
            self.send_raw(data)
