"""Console output and JSON of a clean: dropped photos by rule, examples, and next steps."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planespotter_scraping.catalog import count_noun
from planespotter_scraping.cleaning.clean import CleanResult
from planespotter_scraping.cleaning.rules import RULES

EXAMPLES = 2  # photos shown for each rule


def as_json(result: CleanResult, *, dry_run: bool) -> dict[str, Any]:
    """Return the result as plain lists and dictionaries."""
    return {
        "dry_run": dry_run,
        "photos": result.photos,
        "kept": result.remaining,
        "dropped_by_rule": _by_rule(result),
        "dropped": [vars(drop) for drop in result.dropped],
        "cropped": dict(result.cropped),
        "stretched": dict(result.stretched),
        "too_small_to_crop": dict(result.too_small_to_crop),
        "review": result.review,
        "suggested_crops": result.suggested_crops,
        "squares": result.squares,
    }


def show(folder: Path, result: CleanResult, *, dry_run: bool, console: Console) -> None:
    """Print dropped photos by rule, with examples, and what to do next."""
    by_rule = _by_rule(result)
    if by_rule:
        table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None)
        table.add_column("rule", no_wrap=True)
        table.add_column("photos", justify="right")
        table.add_column("what it drops")
        for rule, count in by_rule.items():
            table.add_row(rule, str(count), RULES[rule])
        console.print(table)
        for rule in by_rule:
            for drop in [drop for drop in result.dropped if drop.rule == rule][:EXAMPLES]:
                console.print(Text.assemble((f"{drop.photo_id}: ", "bold"), drop.reason))
        console.print()
    for sentence in sentences(folder, result, dry_run=dry_run):
        console.print(Text(sentence))


def sentences(folder: Path, result: CleanResult, *, dry_run: bool) -> Iterator[str]:
    """Yield the result as sentences."""
    drops = len(result.dropped)
    kept_text = f"{result.remaining:,} {'would be kept' if dry_run else 'kept'}"
    yield f"{count_noun(result.photos, 'photo')}: {drops:,} {_verb(drops, dry_run)} dropped, {kept_text}."
    for edited, counts in (("cropped at the bottom", result.cropped), ("stretched", result.stretched)):
        for source, count in counts.items():
            original = "the original is kept" if count == 1 else "the originals are kept"
            yield f"{count_noun(count, 'image')} of {source} {_verb(count, dry_run)} {edited}; {original}."
    for source, count in result.too_small_to_crop.items():
        yield f"{count_noun(count, 'image')} of {source} would lose more than half by the crop: not cropped."
    if result.review:
        yield (
            f"{count_noun(len(result.review), 'duplicate')} with contradicting labels: kept, and the column review "
            f"{'would state' if dry_run else 'states'} the contradiction, as for {next(iter(result.review))}."
        )
    for source, rows in result.suggested_crops.items():
        yield (
            f"Most photos of {source} end with a bar of {rows} rows. If it is a caption bar, crop it with "
            f"--crop-bottom {source}={rows}, to find the duplicates that it hides."
        )
    for source in result.squares:
        yield (
            f"All photos of {source} are squares of one size. If its data set squashed them, stretch them again, with "
            f"--stretch {source}=1.5 if they were 3:2."
        )
    if dry_run:
        yield "Nothing was changed. Run without --dry-run to apply."
    elif result.changes_the_catalog:
        if result.dropped:
            yield f"{folder / 'dropped.csv'} has the reason for each photo; the images were not deleted."
        yield f"To undo: planespotter catalog clean {folder} --undo"
    if not result.remaining and result.photos:
        yield "All photos were dropped. Check the limits."


def undo_sentence(folder: Path, back: int, restored: int) -> str:
    """Return the result of an undo as a sentence.

    Args:
        folder: Folder of the catalog.
        back: Photos that are in the catalog again.
        restored: Rows with their former values.
    """
    first = f"{count_noun(back, 'photo')} {'is' if back == 1 else 'are'} in {folder} again"
    second = f"{count_noun(restored, 'row')} {'has its former values' if restored == 1 else 'have their former values'}"
    return ", and ".join(part for part, count in ((first, back), (second, restored)) if count) + "."


def _verb(count: int, dry_run: bool) -> str:
    """Return the auxiliary verb of a passive: was, were, or would be."""
    return "would be" if dry_run else "was" if count == 1 else "were"


def _by_rule(result: CleanResult) -> dict[str, int]:
    """Return the number of dropped photos by rule, in the order of the rules."""
    counts = Counter(drop.rule for drop in result.dropped)
    return {rule: counts[rule] for rule in RULES if counts[rule]}
