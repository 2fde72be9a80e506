"""Fixtures of `planespotter decide`: a video."""

from tests.client.classify.conftest import here, video

__all__ = ["here", "video"]
