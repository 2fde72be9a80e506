"""Startup banner: address, models and limits within 80 columns."""

from dataclasses import replace
from pathlib import Path

from planespotter_models import Bundle, Engine
from planespotter_server.banner import startup_banner
from planespotter_server.serving.served_model import ServedModel
from planespotter_server.settings import Settings


async def banner(loaded: tuple[Bundle, Engine], names: list[str], default: str, settings: Settings) -> str:
    models = [ServedModel(replace(loaded[0], name=name), loaded[1], settings) for name in names]
    return startup_banner("127.0.0.1:50051", models, default, settings)


async def test_banner_describes_a_single_model(loaded: tuple[Bundle, Engine]) -> None:
    text = await banner(loaded, ["tiny"], "tiny", Settings(grace_seconds=20))
    assert text.startswith(
        "Serving tiny 1 on 127.0.0.1:50051\n\n model     tiny 1: Airbus, Boeing; 6 types; 48 x 32 pix"
    )
    assert f"device    {loaded[1].description}; batch sizes" in " ".join(text.split("\n"))
    assert "at most 16 MiB and 160 megapixels; 64 in a batch" in text
    assert "have 20 s to finish" in text
    assert max(map(len, text.splitlines())) <= 80


async def test_banner_lists_only_the_first_of_many_models(loaded: tuple[Bundle, Engine]) -> None:
    names = [f"a rather long name of a model, number {number}" for number in range(30)]
    text = await banner(loaded, names, names[1], Settings(model_repository=Path("bundles")))
    lines = text.splitlines()
    assert lines[0] == "Serving 30 models on 127.0.0.1:50051"
    assert f"{names[1]} 1, the default" in " ".join(text.split())
    assert "and 22 more" in text
    assert "bundles is scanned every 10 s" in text
    assert len(lines) < 40
    assert max(map(len, lines)) <= 80
