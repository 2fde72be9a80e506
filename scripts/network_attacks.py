"""Attacks on a server over the network; `scripts/honest_caller.py` measures their effect.

The fuzz job sends them in random order, the benchmark all at once. None but the hostile photos needs a token. Paths are
ASCII: see "Exposure to untrusted clients" in docs/operating.md.
"""

import contextlib
import gzip
import random
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import grpc
import hpack
from scripts import hostile_photos
from scripts.h2_client import SERVICE, H2Client, call_headers, grpc_frame
from scripts.honest_caller import Metadata

from planespotter.v1 import classifier_pb2 as pb
from planespotter.v1 import classifier_pb2_grpc as pb_grpc

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHODS = (b"Classify", b"BatchClassify", b"StreamClassify", b"GetModel", b"ListModels", b"GetServerInfo", b"None")
HEALTH = (b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch")
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
BOMB_BYTES = 60 << 20
# Time for one connection of an attack.
SECONDS = 0.5


def h2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Encode an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(path: bytes, extra: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Encode the headers of a call with HPACK."""
    return hpack.Encoder().encode(call_headers(path, extra))


@cache
def bomb(size: int = BOMB_BYTES) -> bytes:
    """Return a gzip message of a thousandth of `size` that expands to `size` bytes."""
    return grpc_frame(gzip.compress(pb.Photo(content=bytes(size)).SerializeToString()), compressed=True)


def conversation(chance: random.Random) -> bytes:
    """Return a connection's bytes: calls in frames that are mutated, out of order, too many or too few."""
    frames = [h2_frame(SETTINGS, 0, 0, b"")]
    for stream in range(1, 2 * chance.choice((1, 2, 20)), 2):
        path = chance.choice((SERVICE + chance.choice(METHODS), chance.choice(HEALTH)))
        value = chance.randbytes(chance.randrange(50))
        extra = chance.choice(
            ((), ((b"x-request-id", value),), ((b"data-bin", value),), ((b"grpc-encoding", b"gzip"),))
        )
        frames.append(h2_frame(HEADERS, END_HEADERS, stream, headers(path, extra)))
        message = grpc_frame(chance.randbytes(chance.choice((0, 1, 100, 5000))), compressed=chance.random() < 0.2)
        frames.append(h2_frame(DATA, chance.choice((0, END_STREAM)), stream, message))
        code = chance.randrange(2**32).to_bytes(4, "big")
        kind = chance.choice((RST_STREAM, WINDOW_UPDATE, PING, GOAWAY, PRIORITY, PUSH, SETTINGS, CONTINUATION))
        frames.append(
            h2_frame(kind, chance.randrange(256), chance.choice((0, stream)), code * chance.choice((0, 1, 2, 9)))
        )
    for index, original in enumerate(frames):
        if original[3] != HEADERS and chance.random() < 0.3:
            changed = bytearray(original)
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
            frames[index] = bytes(changed[: chance.choice((len(changed), chance.randrange(len(changed) + 1)))])
    if chance.random() < 0.2:
        chance.shuffle(frames)
    return PREFACE + b"".join(frames)


# Attacks, each on a connection that stays open until the returned client is closed.


def mutated_frames(address: str, chance: random.Random) -> H2Client:
    """Send mutated HTTP/2 frames."""
    client = H2Client(address, greeting=False)
    client.send_raw(conversation(chance))
    return client


def half_sent_request(address: str, chance: random.Random) -> H2Client:
    """Announce a message of any size, up to 4 GiB, and send a part of it."""
    client = H2Client(address)
    stream = client.open(chance.choice((SERVICE + chance.choice(METHODS), chance.choice(HEALTH))))
    size = chance.choice((1, 100_000, 60 << 20, 2**32 - 1))
    client.send(stream, b"\0" + size.to_bytes(4, "big") + bytes(min(size - 1, 60 << 20)), timeout=SECONDS)
    return client


def compressed_request(address: str, chance: random.Random) -> H2Client:
    """Send a compressed message: one that expands a thousandfold, one that is damaged, or not what is announced."""
    client = H2Client(address)
    encoding = chance.choice((b"gzip", b"deflate", b"identity", b"br"))
    stream = client.open(SERVICE + chance.choice(METHODS), [(b"grpc-encoding", encoding)])
    damaged = grpc_frame(zlib.compress(bytes(1000))[: chance.randrange(5, 15)], compressed=True)
    client.send(stream, chance.choice((bomb(), bomb(), damaged)), end=True, timeout=SECONDS)
    return client


def rapid_resets(address: str, chance: random.Random) -> H2Client:
    """Open many calls and reset each at once."""
    client = H2Client(address, greeting=False)
    frames = [PREFACE, h2_frame(SETTINGS, 0, 0, b"")]
    for stream in range(1, 2 * chance.randrange(2, 200), 2):
        frames.append(h2_frame(HEADERS, END_HEADERS, stream, headers(SERVICE + b"StreamClassify")))
        frames.append(h2_frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big")))
    client.send_raw(b"".join(frames))
    return client


def unread_responses(address: str, chance: random.Random) -> H2Client:
    """Send photos over a stream, and read no response."""
    client = H2Client(address, window=0)
    stream = client.open(SERVICE + b"StreamClassify")
    message = grpc_frame(pb.StreamClassifyRequest(photo=pb.Photo(content=b"no photo")).SerializeToString())
    client.send(stream, message * chance.randrange(1, 100), timeout=SECONDS)
    return client


Attack = Callable[[str, random.Random], H2Client]
ATTACKS: tuple[Attack, ...] = (
    mutated_frames,
    half_sent_request,
    compressed_request,
    rapid_resets,
    unread_responses,
)


def fuzz_network(address: str, count: int, until: float, chance: random.Random) -> int:
    """Send `count` inputs, most of them mutated frames, until the time `until`; return the number sent.

    Up to 60 connections stay open at a time.
    """
    held: list[H2Client] = []
    sent = 0
    while sent < count and time.monotonic() < until:
        attack = mutated_frames if chance.random() < 0.9 else chance.choice(ATTACKS)
        with contextlib.suppress(OSError):  # the server has closed the connection
            held.append(attack(address, chance))
        sent += 1
        while len(held) > 60:
            held.pop(chance.randrange(len(held))).socket.close()
    for client in held:
        client.socket.close()
    return sent


def bombs_and_uploads(address: str, count: int = 60) -> Iterator[H2Client]:
    """Open `count` calls with gzip bombs and as many uploads that are never finished; yield their connections."""
    client = H2Client(address)
    streams = [client.open(SERVICE + b"Classify", [(b"grpc-encoding", b"gzip")]) for _ in range(count)]
    for stream in streams:
        client.send(stream, bomb()[:-1], timeout=SECONDS)
    for stream in streams:
        client.send(stream, bomb()[-1:], end=True, timeout=SECONDS)
    yield client
    upload = grpc_frame(bytes(BOMB_BYTES))
    for _ in range(count):
        client = H2Client(address)
        client.send(client.open(SERVICE + b"Classify"), upload[:-1], timeout=SECONDS)
        yield client


@cache
def costly_photos() -> tuple[bytes, ...]:
    """Return the photos that are accepted and cost the most processor time or memory, of different formats."""
    names = (
        "PNG, RGBA",
        "progressive JPEG of many scans",
        "progressive JPEG of many pixels",
        "WebP, lossy, transparent",
    )
    return tuple(hostile_photos.LARGEST[name]() for name in names)


def send_costly_photos(address: str, seconds: float, metadata: Metadata = (), callers: int = 4) -> int:
    """Send `costly_photos` for `seconds`, by several concurrent callers; return how many were classified."""
    until = time.monotonic() + seconds
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(callers) as pool:
        classify = pb_grpc.ClassifierServiceStub(channel).Classify

        def send(_: int) -> int:
            classified = 0
            while time.monotonic() < until:
                for photo in costly_photos():
                    with contextlib.suppress(grpc.RpcError):  # rejected, as the server is overloaded
                        classify(pb.ClassifyRequest(photo=pb.Photo(content=photo)), metadata=metadata, timeout=30)
                        classified += 1
            return classified

        return sum(pool.map(send, range(callers)))
