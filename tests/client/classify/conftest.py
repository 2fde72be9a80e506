"""Fixtures of `planespotter classify`: folders of photos and a video."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

Paint = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """Photos in nested folders, named for what they show, and a text file."""
    for name in ("A320neo", "737-800", "below/747"):
        path = tmp_path / f"{name}.JPG"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(paint(path.stem))
    (tmp_path / "notes.txt").write_text("not a photo")
    return tmp_path


@pytest.fixture
def here(tmp_path: Path, paint: Paint, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos named for what they show."""
    for name in ("A320neo", "737-800", "below/747"):
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(paint(path.stem))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def video(here: Path, paint: Paint) -> Path:
    """Four seconds at 25 frames per second: two of an A320neo, then two of a 737-800."""
    import av
    import numpy as np
    from PIL import Image

    path = here / "clip.mp4"
    with av.open(str(path), "w") as file:
        track = file.add_stream("mpeg4", rate=25)
        track.width, track.height, track.pix_fmt = 144, 96, "yuv420p"
        for name in ("A320neo", "737-800"):
            frame = av.VideoFrame.from_ndarray(np.asarray(Image.open(io.BytesIO(paint(name)))))
            for _ in range(50):
                frame.pts = None
                file.mux(track.encode(frame))
        file.mux(track.encode(None))
    return path
