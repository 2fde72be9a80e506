"""Measure engines, decoding, the server and its start, in one run: `make bench`.

All figures of one run belong together: machines are noisy, so compare the ratios, not figures of different runs. Each
is the median of several rounds, taken in turns. Two networks are measured: the one that is installed (or --model), and
VGG16 in full width for photos of 150 pixels with random weights, which is just as fast as a trained one. Takes less
than ten minutes on two cores. Prints a report and writes it to results/, beside those of earlier runs: bench.html,
bench.json and a line in bench.jsonl.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from scripts.bench import engines, history, networks, report, serving, startup

import planespotter_models
from planespotter_client.commands.local_server import LocalServerError
from planespotter_models import BundleError, read_bundle, write_bundle


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="bundle to measure (default: the one that is installed)")
    parser.add_argument("--recipe", help="measure the network of a recipe with random weights instead")
    parser.add_argument("--seconds", type=float, default=24, help="for the engines of each network (default: 24)")
    parser.add_argument("--only", choices=("engines", "served", "starting"), help="measure one part alone")
    parser.add_argument("--small", action="store_true", help="leave VGG16 in full width out")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    log = Console(stderr=True, highlight=False)
    began = time.perf_counter()
    results: dict[str, Any] = {"machine": history.machine()}
    sections: list[report.Section] = []
    figures: dict[str, float] = {}

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = _models(arguments, folder)
        for title, path in models.items():
            model, found = read_bundle(path), results.setdefault(title, {})
            kept: dict[str, float] = {}
            if arguments.only in (None, "engines"):
                log.print(f"Engines, {title} ...")
                found["engines"] = engines.measure(model, arguments.seconds)
                sections.append(engines.show(title, found["engines"]))
                kept |= engines.headlines(found["engines"])
            if arguments.only in (None, "served"):
                log.print(f"The server, {title} ...")
                photos = folder / f"photos-{len(sections)}"
                photos.mkdir()
                found["served"] = serving.measure(path, photos)
                sections += serving.show(title, found["served"])
                kept |= serving.headlines(found["served"])
            if arguments.only in (None, "starting"):
                log.print(f"Starting, {title} ...")
                [photo] = networks.write_photos(folder, networks.drawings(1))
                found["starting"] = startup.measure(path, photo, folder / f"caches-{len(sections)}")
                sections.append(startup.show(title, found["starting"]))
                kept |= startup.headlines(found["starting"])
            figures |= {f"{title}: {name}": value for name, value in kept.items()}

    results["seconds"] = time.perf_counter() - began
    past = arguments.out / "bench.jsonl"
    sections.append(history.change(history.earlier(past, results["machine"]), figures))
    history.append(past, results["machine"], figures)
    machine = results["machine"]
    title = f"planespotter on {machine['processor']}, {machine['cores']} cores"
    (arguments.out / "bench.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (arguments.out / "bench.html").write_text(report.to_html(title, sections), encoding="utf-8")
    console.print(title, style="bold")
    report.to_terminal(console, sections)
    console.print(f"\nTook {results['seconds'] / 60:.1f} minutes. Wrote {arguments.out / 'bench.html'} and bench.json.")


def _models(arguments: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Return the bundles to measure by title; those with random weights are written to `folder`."""
    models: dict[str, Path] = {}
    if arguments.recipe:
        write_bundle(networks.of_recipe(arguments.recipe), folder / "recipe")
        models[f"recipe {arguments.recipe}"] = folder / "recipe"
    elif arguments.model:
        models[title_of(arguments.model)] = arguments.model
    else:
        path = sorted(planespotter_models.FOLDER.glob("*/*/bundle.json"))[-1].parent
        models[title_of(path)] = path
    if not arguments.small:
        write_bundle(networks.full_size(), folder / "full")
        models["VGG16"] = folder / "full"
    return models


def title_of(path: Path) -> str:
    """Return what the bundle in `path` calls itself, wherever it lies; it has a space, so it is never "VGG16"."""
    model = read_bundle(path)
    return f"{model.name} {model.version}"


if __name__ == "__main__":
    try:
        main()
    except (BundleError, LocalServerError, serving.ServedError) as error:
        raise SystemExit(str(error)) from None
