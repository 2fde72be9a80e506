"""What the server shows when it is ready: one screen at 80 columns."""

from dataclasses import replace
from pathlib import Path

from planespotter_models import Bundle, Engine
from planespotter_server.banner import screen
from planespotter_server.serving.served_model import ServedModel
from planespotter_server.settings import Settings


async def shown(loaded: tuple[Bundle, Engine], names: list[str], default: str, settings: Settings) -> str:
    models = [ServedModel(replace(loaded[0], name=name), loaded[1], settings) for name in names]
    return screen("127.0.0.1:50051", models, default, settings)


async def test_one_model(loaded: tuple[Bundle, Engine]) -> None:
    text = await shown(loaded, ["tiny"], "tiny", Settings(grace_seconds=20))
    assert text.startswith(
        "Serving tiny 1 on 127.0.0.1:50051\n\n model     tiny 1: Airbus, Boeing; 6 types; 48 x 32 pix"
    )
    assert f"device    {loaded[1].description}; photos go to it in batches of" in " ".join(text.split("\n"))
    assert "at most 16 MiB and 40 megapixels; 64 in a batch" in text
    assert "have 20 s to finish" in text
    assert max(map(len, text.splitlines())) <= 80


async def test_many_models_still_fit_on_a_screen(loaded: tuple[Bundle, Engine]) -> None:
    names = [f"a rather long name of a model, number {number}" for number in range(30)]
    text = await shown(loaded, names, names[1], Settings(model_repository=Path("bundles")))
    lines = text.splitlines()
    assert lines[0] == "Serving 30 models on 127.0.0.1:50051"
    assert f"{names[1]} 1, the default" in " ".join(text.split())
    assert "and 22 more" in text
    assert "looked for in bundles every 10 s" in text
    assert len(lines) < 40
    assert max(map(len, lines)) <= 80
