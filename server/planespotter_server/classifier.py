"""Classify photos with one bundle: check, decode, batch, run, answer. Knows nothing of gRPC."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planespotter_server.batcher import Batcher
from planespotter_server.refusals import Refusal, shortened
from planespotter_server.room import Room
from planespotter_server.settings import Settings
from planespotter_training import bundle as bundles

Pixels = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Caller:
    """One call or stream. Callers take turns at the device; `deadline` is a time of the event loop's clock."""

    deadline: float | None = None


class Classifier:
    """Answers photos with the network of `bundle`. Make it inside a running event loop."""

    def __init__(self, bundle: bundles.Bundle, engine: bundles.Engine, settings: Settings) -> None:
        self.bundle = bundle
        self.room = Room(settings.queue_photos, settings.queue_bytes)
        self._settings = settings
        self._engine = engine
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._batcher = Batcher(self._run, engine.batch_sizes[-1], settings.max_delay_ms / 1000)

    def check(self, model_name: str, alternatives: int) -> None:
        """Raise Refusal (MODEL_NOT_FOUND, ALTERNATIVES_OUT_OF_RANGE) if no photo can be answered like this."""
        if model_name not in ("", self.bundle.name):
            raise Refusal(
                "MODEL_NOT_FOUND",
                f"There is no model {shortened(repr(model_name))} here; this server serves "
                f"{self.bundle.name!r}. Leave model_name empty to take it.",
                metadata={"model_name": shortened(model_name), "served": self.bundle.name},
                field="options.model_name",
            )
        if not 0 <= alternatives <= self._settings.max_alternatives:
            raise Refusal(
                "ALTERNATIVES_OUT_OF_RANGE",
                f"alternatives is {alternatives}, but must lie between 0 and {self._settings.max_alternatives}.",
                metadata={"alternatives": alternatives, "limit": self._settings.max_alternatives},
                field="options.alternatives",
            )

    async def classify(self, photo: bytes, alternatives: int, caller: Caller) -> bundles.Answer:
        """Return the answer for a JPEG, PNG or WebP file. The caller has taken room for it before.

        Raises Refusal (PHOTO_TOO_LARGE, DEADLINE_IN_QUEUE, SHUTTING_DOWN) and bundle.PhotoError.
        """
        limit = self._settings.max_photo_bytes
        if len(photo) > limit:
            raise bundles.PhotoError(
                "PHOTO_TOO_LARGE",
                f"The photo file has {len(photo):,} bytes; the limit is {limit:,}. Scale it down: "
                f"{self.bundle.width} x {self.bundle.height} pixels are all that the network looks at.",
                bytes=len(photo),
                limit=limit,
            )
        loop = asyncio.get_running_loop()
        pixels = await loop.run_in_executor(self._decoders, self._decode, photo)
        outputs = await self._batcher.submit(pixels, caller, caller.deadline)
        [answer] = bundles.answer(self.bundle.tree, self.bundle.calibration, outputs, alternatives)
        return answer

    async def close(self) -> None:
        """Stop at once; what is still in work is refused."""
        self.room.close()
        await self._batcher.close()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    def _decode(self, photo: bytes) -> Pixels:
        return bundles.decode(photo, self.bundle.height, self.bundle.width, self._settings.max_photo_pixels)

    def _run(self, photos: Sequence[Pixels]) -> list[Outputs]:
        outputs = self._engine.run(np.stack(photos))
        return [{head: rows[i : i + 1] for head, rows in outputs.items()} for i in range(len(photos))]
