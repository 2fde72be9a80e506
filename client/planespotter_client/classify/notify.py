"""Notifications: post events of a watched folder or a camera to a URL, as JSON.

Three events: the first aircraft of a type today, an aircraft of a rare type, and a streak of photos without a confident
name. An event is stored in an outbox, a JSON lines file, before it is posted, and removed once the receiver accepted
it: what a kill or a lost network left behind is posted by the next run. So a receiver may get an event twice, with the
same id.
"""

import http.client
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planespotter_client._hosts import is_loopback
from planespotter_client.classify import serialization
from planespotter_client.commands.atomic_write import atomic_write

if TYPE_CHECKING:
    from planespotter_client import PhotoResult

FIRST_TODAY, RARE_TYPE, LOW_CONFIDENCE = "first_of_type_today", "rare_type", "low_confidence_streak"
TIMEOUT_SECONDS = 10.0
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 300.0
MAX_OUTBOX = 10_000
"""Events that wait for a receiver; beyond, the oldest is dropped."""
CLOSE_SECONDS = 5.0


class NotifyError(Exception):
    """Notifications cannot be sent; the text says why and how to fix it."""


@dataclass(frozen=True)
class NotifyConfig:
    """What is posted, and where.

    Attributes:
        url: Receiver, http or https.
        outbox: File of the events that wait.
        cooldown: Seconds in which the same event for the same type is posted once.
        rare_share: A type is rare below this share of the confident photos so far.
        rare_after: Confident photos before any type is rare.
        streak: Photos in a row without a confident name that are a streak.
    """

    url: str
    outbox: Path
    cooldown: float = 600.0
    rare_share: float = 0.01
    rare_after: int = 100
    streak: int = 20


def check_url(url: str) -> str:
    """Return `url` if events can be posted to it.

    Raises:
        ValueError: It is not an http or https URL with a host.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL to post to: write http://HOST/PATH or https://HOST/PATH.")
    return url


@dataclass
class EventDetector:
    """Decides which events a photo is. Times are in seconds since 1970."""

    config: NotifyConfig
    _counts: Counter[str] = field(default_factory=Counter)
    _today: dict[str, str] = field(default_factory=dict)
    _last: dict[tuple[str, str], float] = field(default_factory=dict)
    _streak: int = 0

    def load(self, row: Mapping[str, Any]) -> None:
        """Count a result of an earlier run, so that a restart does not repeat the first of today."""
        if names := serialization.confident_names(row):
            name = " ".join([*names[:1], *names[1:][-1:]])
            self._counts[name] += 1
            self._today[name] = str(row.get("time") or "")[:10]

    def events(self, row: Mapping[str, Any], now: float) -> list[dict[str, Any]]:
        """Return the events of a result, given as values by column."""
        if not row.get("level"):
            return []  # a failed photo
        name = str(row["name"])
        day = datetime.fromtimestamp(now).astimezone().date().isoformat()
        kinds = []
        if row["level"] == "unknown":
            self._streak += 1
            if self._streak == self.config.streak:
                kinds.append(LOW_CONFIDENCE)
        else:
            self._streak = 0
            if self._today.get(name) != day:
                kinds.append(FIRST_TODAY)
            self._today[name] = day
            seen = self._counts.total()
            if seen >= self.config.rare_after and self._counts[name] < self.config.rare_share * seen:
                kinds.append(RARE_TYPE)
            self._counts[name] += 1
        return [self._event(kind, row, now) for kind in kinds if self._is_due(kind, name, now)]

    def _is_due(self, kind: str, name: str, now: float) -> bool:
        if now - self._last.get((kind, name), -self.config.cooldown) < self.config.cooldown:
            return False
        self._last[kind, name] = now
        return True

    def _event(self, kind: str, row: Mapping[str, Any], now: float) -> dict[str, Any]:
        event = {
            "id": str(uuid.uuid4()),
            "event": kind,
            "time": datetime.fromtimestamp(now).astimezone().isoformat(timespec="milliseconds"),
            "file": row["file"],
            "name": row["name"],
            "level": row["level"],
            "probability": row["probability"],
            "network": row["network"],
            "seen": self._counts[str(row["name"])],
        }
        if kind == LOW_CONFIDENCE:
            event["photos"] = self._streak
        return event


class Outbox:
    """Events that wait for the receiver, in a file that survives a kill. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._events = _read(path)
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: dict[str, Any]) -> None:
        """Store an event."""
        with self._lock:
            self._events.append(event)
            if len(self._events) > MAX_OUTBOX:
                del self._events[0]
                self.dropped += 1
                self._write()
                return
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")

    def first(self) -> dict[str, Any] | None:
        """Return the oldest event; None if there is none."""
        with self._lock:
            return self._events[0] if self._events else None

    def remove(self, event: dict[str, Any]) -> None:
        """Remove an event that was accepted."""
        with self._lock:
            self._events = [waiting for waiting in self._events if waiting["id"] != event["id"]]
            self._write()

    def _write(self) -> None:
        if not self._events:
            self._path.unlink(missing_ok=True)
            return
        with atomic_write(self._path) as file:
            file.writelines(json.dumps(event).encode() + b"\n" for event in self._events)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the events in an outbox, without the partial line of a killed run."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "id" in event:
            events.append(event)
    return events


class Notifier:
    """Posts the events of an outbox in a thread, oldest first; a failure is retried with exponential backoff.

    Args:
        config: What is posted, and where.
        report: Called with a sentence when the receiver is lost, and when it rejects an event.
        pause: Seconds before the first retry.
    """

    def __init__(self, config: NotifyConfig, report: Callable[[str], None], pause: float = MIN_BACKOFF_SECONDS) -> None:
        self.detector = EventDetector(config)
        self._config = config
        self._report = report
        self._pause = pause
        config.outbox.parent.mkdir(parents=True, exist_ok=True)
        self._outbox = Outbox(config.outbox)
        # Posts to this machine never use a proxy, like all calls.
        is_local = is_loopback(f"{urllib.parse.urlsplit(config.url).hostname}:0")
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_local else []))
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._post_all, daemon=True, name="notify")
        self._thread.start()

    def add(self, result: "PhotoResult", columns: tuple[str, ...]) -> None:
        """Store the events of a result, to be posted."""
        row = serialization.to_row(result, columns, serialization.now())
        for event in self.detector.events(row, time.time()):
            self._outbox.add(event)
        self._changed.set()

    def close(self) -> None:
        """Wait a moment until the events are posted; what is left stays in the outbox for the next run."""
        self._closing.set()
        self._changed.set()
        self._thread.join(CLOSE_SECONDS)
        if len(self._outbox):
            self._report(f"{len(self._outbox):,} events wait in {self._config.outbox}; the next run posts them.")

    def _post_all(self) -> None:
        pause = self._pause
        while True:
            event = self._outbox.first()
            if event is None:
                if self._closing.is_set():
                    return
                self._changed.wait()
                self._changed.clear()
                continue
            error = self._post(event)
            if error is None:
                self._outbox.remove(event)
                pause = self._pause
                continue
            if pause == self._pause:
                self._report(f"{_host(self._config.url)} does not accept events ({error}). They wait and are retried.")
            if self._closing.wait(pause):
                return
            pause = min(MAX_BACKOFF_SECONDS, 2 * pause)

    def _post(self, event: dict[str, Any]) -> str | None:
        """Post an event; return why it must be retried, None if it is done with."""
        request = urllib.request.Request(
            self._config.url,
            json.dumps(event).encode(),
            {"Content-Type": "application/json", "User-Agent": "planespotter", "Idempotency-Key": event["id"]},
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS):
                return None
        except urllib.error.HTTPError as error:
            if error.code in (408, 425, 429) or error.code >= 500:
                return f"HTTP {error.code}"
            self._report(f"{_host(self._config.url)} rejects the event {event['event']} with HTTP {error.code}.")
            return None
        except (OSError, http.client.HTTPException) as error:  # no connection, a timeout, a response that is not HTTP
            return str(getattr(error, "reason", error))


def _host(url: str) -> str:
    """Return the part of `url` that is never secret: scheme, host and port."""
    parts = urllib.parse.urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
