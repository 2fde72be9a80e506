"""Fixtures of `planespotter convert`: a video."""

from tests.client.classify.conftest import here, video

__all__ = ["here", "video"]
