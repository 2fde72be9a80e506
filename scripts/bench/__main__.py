"""Benchmark engines, decoding, the server, its startup and bulk jobs in one run: `make bench`.

Machines are noisy, so the medians of several interleaved rounds are reported, and only ratios within one run are
comparable. Two networks are measured: the installed one (or --model), and VGG16 in full width for photos of 150 pixels
with random weights, which are as fast as trained ones. Takes less than ten minutes on two cores. Prints a report and
writes it to results/: bench.html, bench.json and a line in bench.jsonl, the history.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from scripts.bench import bulk, engines, history, networks, report, serving, startup, under_attack

import planespotter_models
from planespotter_client.commands.local_server import LocalServerError
from planespotter_models import BundleError, read_bundle, write_bundle


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, help="bundle to measure (default: the installed one)")
    parser.add_argument("--recipe", help="recipe whose network is measured instead, with random weights")
    parser.add_argument("--seconds", type=float, default=24, help="time for the engines of each network (default: 24)")
    parser.add_argument(
        "--only", choices=("engines", "serving", "startup", "bulk"), help="part to measure (default: all)"
    )
    parser.add_argument("--small", action="store_true", help="skip VGG16 in full width")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    log = Console(stderr=True, highlight=False)
    start = time.perf_counter()
    results: dict[str, Any] = {"machine": history.machine()}
    sections: list[report.Section] = []
    metrics: dict[str, float] = {}

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = _models(arguments, folder)
        for title, path in models.items():
            model, measured = read_bundle(path), results.setdefault(title, {})
            headlines: dict[str, float] = {}
            if arguments.only in (None, "engines"):
                log.print(f"Engines, {title} ...")
                measured["engines"] = engines.measure(model, arguments.seconds)
                sections.append(engines.show(title, measured["engines"]))
                headlines |= engines.headlines(measured["engines"])
            if arguments.only in (None, "serving"):
                log.print(f"Serving, {title} ...")
                photos = folder / f"photos-{len(sections)}"
                photos.mkdir()
                measured["serving"] = serving.measure(path, photos)
                sections += serving.show(title, measured["serving"])
                headlines |= serving.headlines(measured["serving"])
                photo = sorted(photos.glob("*.jp*g"))[0]
                measured["under attack"] = under_attack.measure(path, photo, photos / "attack")
                sections.append(under_attack.show(title, measured["under attack"]))
            if arguments.only in (None, "startup"):
                log.print(f"Startup, {title} ...")
                [photo] = networks.write_photos(folder, networks.drawings(1))
                measured["startup"] = startup.measure(path, photo, folder / f"caches-{len(sections)}")
                sections.append(startup.show(title, measured["startup"]))
                headlines |= startup.headlines(measured["startup"])
            if arguments.only in (None, "bulk"):
                log.print(f"Bulk, {title} ...")
                measured["bulk"] = bulk.measure(path, folder / f"bulk-{len(sections)}")
                sections.append(bulk.show(title, measured["bulk"]))
                headlines |= bulk.headlines(measured["bulk"])
            metrics |= {f"{title}: {name}": value for name, value in headlines.items()}

    results["seconds"] = time.perf_counter() - start
    past = arguments.out / "bench.jsonl"
    sections.append(history.compare(history.latest(past, results["machine"]), metrics))
    history.append(past, results["machine"], metrics)
    machine = results["machine"]
    title = f"planespotter on {machine['processor']}, {machine['cores']} cores"
    (arguments.out / "bench.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    (arguments.out / "bench.html").write_text(report.to_html(title, sections), encoding="utf-8")
    console.print(title, style="bold")
    report.to_terminal(console, sections)
    console.print(f"\nTook {results['seconds'] / 60:.1f} minutes. Wrote {arguments.out / 'bench.html'} and bench.json.")


def _models(arguments: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Return the bundles to measure by title; write those with random weights to `folder`."""
    models: dict[str, Path] = {}
    if arguments.recipe:
        write_bundle(networks.from_recipe(arguments.recipe), folder / "recipe")
        models[f"recipe {arguments.recipe}"] = folder / "recipe"
    elif arguments.model:
        models[title_of(arguments.model)] = arguments.model
    else:
        path = sorted(planespotter_models.FOLDER.glob("*/*/bundle.json"))[-1].parent
        models[title_of(path)] = path
    if not arguments.small:
        write_bundle(networks.full_width(), folder / "full")
        models["VGG16"] = folder / "full"
    return models


def title_of(path: Path) -> str:
    """Return name and version in the bundle at `path`; with its space, it never equals "VGG16"."""
    model = read_bundle(path)
    return f"{model.name} {model.version}"


if __name__ == "__main__":
    try:
        main()
    except (BundleError, LocalServerError, serving.IncompleteRunError) as error:
        raise SystemExit(str(error)) from None
