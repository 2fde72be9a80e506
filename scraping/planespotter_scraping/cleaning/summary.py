"""Tell on a terminal what a clean did, or would do."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planespotter_scraping.catalog.stats import some
from planespotter_scraping.cleaning.clean import Cleaned
from planespotter_scraping.cleaning.rules import RULES

EXAMPLES = 2  # of photos for each rule


def as_json(outcome: Cleaned, *, dry_run: bool) -> dict[str, Any]:
    """Return all that there is to tell, as plain lists and dictionaries."""
    return {
        "dry_run": dry_run,
        "photos": outcome.photos,
        "kept": outcome.kept,
        "dropped_by": _by_rule(outcome),
        "dropped": [vars(drop) for drop in outcome.dropped],
        "cropped": dict(outcome.cropped),
        "too_low_to_crop": dict(outcome.too_low),
        "review": outcome.review,
        "suggested_crop_bottom": outcome.hints,
    }


def show(folder: Path, outcome: Cleaned, *, dry_run: bool, console: Console) -> None:
    """Print how many photos which rule dropped, some examples, and what to do about it."""
    by_rule = _by_rule(outcome)
    if by_rule:
        table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None)
        table.add_column("rule", no_wrap=True)
        table.add_column("photos", justify="right")
        table.add_column("what it drops")
        for rule, count in by_rule.items():
            table.add_row(rule, str(count), RULES[rule])
        console.print(table)
        for rule in by_rule:
            for drop in [drop for drop in outcome.dropped if drop.rule == rule][:EXAMPLES]:
                console.print(Text.assemble((f"{drop.photo_id}: ", "bold"), drop.because))
        console.print()
    for sentence in sentences(folder, outcome, dry_run=dry_run):
        console.print(Text(sentence))


def sentences(folder: Path, outcome: Cleaned, *, dry_run: bool) -> Iterator[str]:
    """Yield what a clean did, a sentence for each thing that there is to say."""
    drops, crops = len(outcome.dropped), outcome.cropped
    stay = "would stay" if dry_run else "stay"
    yield f"{some(outcome.photos, 'photo')}: {drops:,} {_be(drops, dry_run)} dropped, {outcome.kept:,} {stay}."
    for source, count in crops.items():
        whole = "the whole one is kept" if count == 1 else "the whole ones are kept"
        yield f"{some(count, 'image')} of {source} {_be(count, dry_run)} cropped at the bottom; {whole}."
    for source, count in outcome.too_low.items():
        yield f"{some(count, 'image')} of {source} would lose more than half by the crop, and stay as they are."
    if outcome.review:
        yield (
            f"{len(outcome.review)} photos show the same picture as another but have another label: they stay, and the "
            f"column review {'would say' if dry_run else 'says'} what differs, such as {next(iter(outcome.review))}."
        )
    for source, rows in outcome.hints.items():
        yield (
            f"Most photos of {source} end with a bar of {rows} rows. Look at some: if it is a caption, cut it off with "
            f"--crop-bottom {source}={rows}, and copies are found that the bar hides."
        )
    if dry_run:
        yield "Nothing was changed. Leave out --dry-run to do it."
    elif outcome.dropped or outcome.cropped or outcome.review:
        if outcome.dropped:
            yield f"{folder / 'dropped.csv'} says why of each photo; the images were left where they are."
        yield f"To take all of it back: planespotter catalog clean {folder} --undo"
    if not outcome.kept and outcome.photos:
        yield "No photo is left: were the limits meant so?"


def undo_sentence(folder: Path, back: int, restored: int) -> str:
    """Return what an undo did, as a sentence."""
    came = f"{some(back, 'photo')} {'is' if back == 1 else 'are'} in {folder} again"
    stayed = f"{some(restored, 'row')} {'is as it was' if restored == 1 else 'are as they were'} before"
    return ", and ".join(part for part, count in ((came, back), (stayed, restored)) if count) + "."


def _be(count: int, dry_run: bool) -> str:
    """Return the verb of a passive: was, were, or would be."""
    return "would be" if dry_run else "was" if count == 1 else "were"


def _by_rule(outcome: Cleaned) -> dict[str, int]:
    """Return how many photos each rule dropped, in the order of the rules."""
    counts = Counter(drop.rule for drop in outcome.dropped)
    return {rule: counts[rule] for rule in RULES if counts[rule]}
