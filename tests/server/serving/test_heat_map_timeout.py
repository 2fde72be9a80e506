"""Time limit of heat maps: one that does not end is answered with a reason, and does not hold up later requests."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
import structlog

from planespotter_models import read_bundle
from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.heat_maps import HeatMaps

PIXELS = np.zeros((32, 48, 3), np.uint8)


class SlowExplainer:
    """Computes a heat map once it is released."""

    def __init__(self) -> None:
        self.started, self.release = threading.Event(), threading.Event()

    def run(self, *_: object) -> object:
        self.started.set()
        self.release.wait(60)
        return np.ones((2, 3), np.uint8)


async def test_heat_map_that_takes_too_long_is_rejected_until_it_ends(heat_map_bundle: Path) -> None:
    bundle = read_bundle(heat_map_bundle)
    heat_maps, slow = HeatMaps(bundle, None, max_seconds=0.2), SlowExplainer()
    heat_maps._explainer = slow  # type: ignore[assignment]
    leaf = bundle.tree.all_leaves[0]
    try:
        with structlog.testing.capture_logs() as logs:
            for caller in ("first", "second"):
                with pytest.raises(
                    RequestRejected, match=r"not be computed within 0\.2 seconds\. Omit heat_map"
                ) as late:
                    await heat_maps.compute(PIXELS, leaf, caller)
                assert late.value.reason == "HEAT_MAP_TIMEOUT"
        assert [line["event"] for line in logs] == ["heat_map_timeout"]
        slow.release.set()
        while heat_maps._running is not None and not heat_maps._running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await heat_maps.compute(PIXELS, leaf, "third")).tolist() == [[1, 1, 1], [1, 1, 1]]
    finally:
        slow.release.set()
        heat_maps.close()


async def test_heat_map_of_a_caller_that_left_does_not_count_against_the_next_one(heat_map_bundle: Path) -> None:
    bundle = read_bundle(heat_map_bundle)
    heat_maps, slow = HeatMaps(bundle, None, max_seconds=30), SlowExplainer()
    heat_maps._explainer = slow  # type: ignore[assignment]
    leaf = bundle.tree.all_leaves[0]
    try:
        left = asyncio.create_task(heat_maps.compute(PIXELS, leaf, "left"))
        assert await asyncio.to_thread(slow.started.wait, 30)
        left.cancel()
        following = asyncio.create_task(heat_maps.compute(PIXELS, leaf, "next"))
        await asyncio.sleep(0.05)
        slow.release.set()
        assert (await following).shape == (2, 3)
    finally:
        slow.release.set()
        heat_maps.close()
