"""Import of answers: corrected or confident predictions become the labels of a catalog to train on.

Read are what `planespotter classify` and the page write, with a column `correction` that a person has filled in, the
corrections that the page saves, and the JSON export of Label Studio.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from planespotter_photos import formats
from planespotter_scraping.catalog import CatalogError, count_noun
from planespotter_scraping.catalog.folder_import import (
    ImportResult,
    check_out,
    import_folder,
    source_name,
    store_photos,
)
from planespotter_scraping.catalog.label_files import LabelTable, read_labels
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.catalog.path_labels import airframe_from_path
from planespotter_scraping.catalog.predictions import read_prediction_file
from planespotter_scraping.labels.constructors import NO_AIRCRAFT, means_no_aircraft
from planespotter_scraping.labels.parser import infer_constructor, parse_label

UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-")
"""What Label Studio puts before the name of an uploaded file."""
UNKNOWN = frozenset(("unknown", "unclear", "skip", "cannot tell"))


def import_answers(
    file: Path,
    out: Path,
    *,
    folder: Path | None = None,
    min_probability: float | None = None,
    source: str | None = None,
    progress: Callable[[ImportResult, int], None] = lambda result, total: None,
) -> ImportResult:
    """Add the photos that answers label to a catalog.

    Args:
        file: The answers; see `read_answers`.
        out: Folder of the catalog, created if needed.
        folder: Folder whose photos the answers name, by their path or their name; None if their paths lead to the
            photos from the current folder.
        min_probability: As for `read_answers`.
        source: Value of the column `source`; None for the name of the folder, or else of the file.
        progress: Called after each image with the result so far and the number of images in all.

    Raises:
        CatalogError: The answers or the catalog cannot be used, or no photo of the answers exists.
    """
    table = read_answers(file, min_probability)
    if not table.rows:
        raise CatalogError(
            f"{file} labels no photo{': ' + ' '.join(table.notes) if table.notes else '.'} Fill in its column "
            "'correction', review it with planespotter review, or give --min-probability."
        )
    if folder is not None:
        return import_folder(folder, out, table=table, source=source, progress=progress)
    check_out(out)
    rows = {name: airframe_from_path(name, dict(row)) | row for name, row in table.rows.items() if Path(name).is_file()}
    missing = [name for name in table.rows if name not in rows]
    if not rows:
        raise CatalogError(
            f"No photo of {file} exists, such as {missing[0]}. Give the folder of the photos: planespotter catalog "
            f"import FOLDER --answers {file} --out {out}"
        )
    result = ImportResult(notes=list(table.notes))
    if missing:
        result.notes.append(f"{count_noun(len(missing), 'photo')} not found, such as {missing[0]}.")
    with exclusive_lock(out):
        name = source_name(file.with_suffix(""), source)
        store_photos(Path(), rows, out, source=name, result=result, progress=progress)
    return result


def read_answers(file: Path, min_probability: float | None = None) -> LabelTable:
    """Read the labels in answers.

    Args:
        file: A file of predictions (CSV, JSON lines, Parquet), of which a filled-in `correction` is a label; a table
            of labels; or a JSON export of Label Studio.
        min_probability: Take a prediction without a correction as a label down to its confidence level, if that has
            at least this probability; None takes corrections only.

    Raises:
        CatalogError: The file cannot be used.
    """
    if file.suffix.lower() == ".json":
        return _read_label_studio(file)
    try:
        predictions = read_prediction_file(file)
    except CatalogError:
        with suppress(CatalogError):
            table = read_labels(file)  # such as the corrections that the page saves
            if any(row["constructor"] or row["aircraft_type"] for row in table.rows.values()):
                return table
        raise
    table, skipped = LabelTable(), Counter[tuple[str, str]]()
    for row in predictions:
        if row.correction:
            _add(table, row.file, row.correction, skipped)
        elif min_probability is None or row.error:
            skipped["photo", "without a correction"] += 1
        elif not row.confident or (row.probability or 0.0) < min_probability:
            skipped["prediction", f"below {min_probability:g}"] += 1
        else:
            constructor, *deeper = row.confident
            table.rows[row.file] = {"constructor": constructor, "aircraft_type": deeper[-1] if deeper else ""}
    _note(table, skipped)
    return table


def _read_label_studio(file: Path) -> LabelTable:
    """Read a JSON export of Label Studio: the last annotation of each task, of choices or of a taxonomy."""
    try:
        tasks = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CatalogError(f"The answers in {file} cannot be read: {error.strerror}. Check the path.") from None
    except ValueError as error:
        raise CatalogError(f"{file} is not JSON: {error}. Export it from Label Studio again.") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "data" in task for task in tasks):
        raise CatalogError(
            f"{file} is not an export of Label Studio: it must be a list of tasks with data and annotations. Choose "
            "the format JSON in Label Studio, not JSON-MIN."
        )
    table, skipped = LabelTable(), Counter[tuple[str, str]]()
    for task in tasks:
        photo = _photo_of_task(task)
        texts = list(dict.fromkeys(_annotated(task)))
        if not photo:
            skipped["task", "without a photo"] += 1
        elif not texts:
            skipped["photo", "without an annotation"] += 1
        elif len(texts) > 1:
            table.ambiguous.add(photo)
        else:
            _add(table, photo, texts[0], skipped)
    if table.ambiguous:
        skipped["photo", "whose annotators disagree"] += len(table.ambiguous)
    _note(table, skipped)
    return table


def _photo_of_task(task: Mapping[str, Any]) -> str:
    """Return the photo of a task: a path, or the name of an upload without its prefix; "" if there is none."""
    data = task["data"] if isinstance(task["data"], Mapping) else {}
    texts = [data.get(name) for name in ("file", "path", "image")] + list(data.values())
    for text in texts:
        if not isinstance(text, str):
            continue
        url = urlsplit(text)
        local = parse_qs(url.query).get("d", [""])[0]  # /data/local-files/?d=FOLDER/NAME
        path = local or (unquote(url.path) if url.scheme else text)
        if Path(path).suffix.lower() in formats.BY_SUFFIX:
            name = Path(path).name
            return UPLOAD_PREFIX.sub("", name, count=1) if "/upload/" in path else path
    return ""


def _annotated(task: Mapping[str, Any]) -> Iterator[str]:
    """Yield the type of each submitted annotation of a task: the last level of a taxonomy with its first."""
    for annotation in task.get("annotations") or ():
        if annotation.get("was_cancelled"):
            continue
        for item in annotation.get("result") or ():
            value = item.get("value") or {}
            for path in value.get("taxonomy") or ():
                yield " ".join(dict.fromkeys((str(path[0]), str(path[-1]))))
            yield from map(str, value.get("choices") or ())
            yield from map(str, value.get("text") or () if isinstance(value.get("text"), list) else ())


def _add(table: LabelTable, file: str, text: str, skipped: Counter[tuple[str, str]]) -> None:
    """Add a photo with the type that a person gave."""
    if means_no_aircraft(text):
        table.rows[file] = {"constructor": NO_AIRCRAFT, "aircraft_type": ""}
    elif text.strip().lower() in UNKNOWN:
        skipped["photo", "that nobody could name"] += 1
    elif constructor := infer_constructor(text):
        path = parse_label(constructor, text).path
        rest = path.model or path.family or text.removeprefix(constructor).strip()
        table.rows[file] = {"constructor": path.constructor, "aircraft_type": rest}
    else:
        skipped["type", f"without their constructor, such as {text!r}"] += 1


def _note(table: LabelTable, skipped: Counter[tuple[str, str]]) -> None:
    texts = [f"{count_noun(count, noun)} {what}" for (noun, what), count in skipped.items()]
    if texts:
        table.notes.append(f"Skipped: {', '.join(texts)}.")
