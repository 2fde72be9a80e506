"""Label files: read labels of photos from the tables and layouts in which data sets come.

A CSV file may have other column names (as Kaggle's data sets do), further columns, semicolons or tabs, and another
encoding. FGVC-Aircraft's text files, COCO's JSON, and Roboflow's tables of classes and boxes are read as well.
"""

import codecs
import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from planespotter_photos.counts import count_noun
from planespotter_scraping.catalog.store import STATED_COLUMNS, CatalogError
from planespotter_scraping.labels.parser import infer_constructor, parse_label

# Columns of a table with labels; the other columns of a catalog are determined from the image.
LABEL_COLUMNS = ("file", *STATED_COLUMNS, "caption")
# Other names of the columns, in lower case without separators. `family` and `model` replace a missing type.
SYNONYMS = {
    ours: tuple(theirs.split())
    for ours, theirs in {
        "file": "file filename filepath image imagename imagepath imagefile img path photo id imageid photoid "
        "fname name",
        "constructor": "constructor manufacturer maker make brand",
        "model": "model variant",
        "family": "family",
        "aircraft_type": "aircrafttype type class classes classname label labels aircraft category categoryname target "
        "plane planetype aircraftmodel",
        "airline": "airline operator carrier",
        "registration": "registration reg tail tailnumber",
        "photographer": "photographer author credit",
        "taken_on": "takenon date datetaken",
        "licence": "licence license",
        "page_url": "pageurl",
        "image_url": "imageurl url",
        "caption": "caption description title",
    }.items()
}
LEVELS = ("model", "family")  # columns that replace a missing type, the deepest first
BOX_COLUMNS = frozenset(("xmin", "x_min", "bbox", "xmax", "x1"))  # of a table with several rows per photo
GENERIC = frozenset(
    ("aircraft", "airplane", "aeroplane", "plane", "planes", "airplanes", "object", "objects", "aircrafts")
)
FGVC_FILES = re.compile(r"images_(variant|family|manufacturer)_\w+\.txt")
MAX_BYTES = 512 << 20


@dataclass
class LabelTable:
    """Labels from one or more files.

    Attributes:
        rows: Labels by file, as the table names it.
        notes: What was ignored or guessed, as sentences.
        ambiguous: Files with several different labels, which are excluded from `rows`.
    """

    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ambiguous: set[str] = field(default_factory=set)


def read_labels(path: Path, columns: Mapping[str, str] | None = None) -> LabelTable:
    """Read a file with labels.

    Args:
        path: CSV file, text file of FGVC-Aircraft, or JSON file of COCO.
        columns: Names of the table's columns, by the names in LABEL_COLUMNS. The others are matched by SYNONYMS.

    Returns:
        The labels. A missing constructor is inferred from the type.

    Raises:
        CatalogError: The file cannot be used.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CatalogError(f"The labels in {path} cannot be read: {error.strerror}. Check the path.") from None
    if path.suffix.lower() == ".json":
        return _read_coco(path, data)
    text = decode_text(data)
    if path.suffix.lower() == ".txt" and (table := _read_fgvc({path: text})).rows:
        return table
    return _read_csv(path, text, columns or {})


def find_labels(
    folder: Path, other_files: Iterable[str], files: Collection[str], columns: Mapping[str, str] | None = None
) -> LabelTable:
    """Find the label files of a data set and read them.

    Args:
        folder: Folder of the data set.
        other_files: Its files that are not images, relative to the folder.
        files: Its images, relative to the folder.
        columns: As for `read_labels`.

    Returns:
        The labels by image, relative to the folder; empty if there are no label files.
    """
    labels_of_set = LabelTable()
    candidates = sorted(folder / name for name in other_files if Path(name).suffix.lower() in (".txt", ".csv", ".json"))
    fgvc = {path: decode_text(path.read_bytes()) for path in candidates if FGVC_FILES.fullmatch(path.name)}
    tables = [(folder, "images_variant_*.txt", _read_fgvc(fgvc))] if fgvc else []
    for path in candidates:
        if path.suffix.lower() == ".txt" or path.stat().st_size > MAX_BYTES:
            continue
        try:
            tables.append((path.parent, path.relative_to(folder).as_posix(), read_labels(path, columns)))
        except CatalogError:
            continue  # a file that is not about photos
    for parent, name, table in tables:
        where = parent.relative_to(folder).as_posix()
        matched = match_files([*table.rows, *table.ambiguous], files, "" if where == "." else where)
        labels = {file: table.rows[name] for name, file in matched.items() if name in table.rows}
        labelled = {file: row for file, row in labels.items() if row["constructor"] or row["aircraft_type"]}
        if labelled:
            labels_of_set.rows = {**labelled, **labels_of_set.rows}
            labels_of_set.notes += [f"Labels of {count_noun(len(labelled), 'photo')} are from {name}.", *table.notes]
            labels_of_set.ambiguous.update(file for name, file in matched.items() if name in table.ambiguous)
    labels_of_set.ambiguous -= labels_of_set.rows.keys()
    return labels_of_set


def match_files(names: Iterable[str], files: Collection[str], parent: str = "") -> dict[str, str]:
    """Match the files that a table names with images: by their path, else by their name, with or without suffix.

    Args:
        names: Files, as the table names them.
        files: Images, relative to the imported folder.
        parent: Folder of the table, relative to the imported one; its images take precedence.

    Returns:
        The image of each name. Names without an image are excluded, and so are ambiguous ones.
    """
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        path = PurePosixPath(file)
        for key in {path.name, path.stem}:
            by_key[key].append(file)
    known = set(files)
    matched = {}
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        exact = [candidate for candidate in (str(PurePosixPath(parent, path)), str(path)) if candidate in known]
        inside = by_key.get(path.name) or (by_key.get(path.stem, []) if path.suffix else [])
        near = [file for file in inside if file.startswith(f"{parent}/")] if parent else inside
        choices = exact[:1] or near or inside
        if len(choices) == 1:
            matched[name] = choices[0]
    return matched


def decode_text(data: bytes) -> str:
    """Decode text in UTF-8, UTF-16 (with a byte order mark, or recognized by its zero bytes) or Windows-1252."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if data[:200].count(0) * 3 > len(data[:200]):
        return data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def delimiter_of(text: str) -> str:
    """Return the delimiter of a table: the candidate that is most frequent in its header."""
    return max(",;\t|", key=text.partition("\n")[0].count)


def _read_csv(path: Path, text: str, columns: Mapping[str, str]) -> LabelTable:
    """Read a CSV file. Raises CatalogError if it is invalid."""
    delimiter = delimiter_of(text)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if line]
    except csv.Error as error:
        raise CatalogError(f"{path} is not CSV: {error}. Fix it, or export it as CSV again.") from None
    header, *body = lines or [[]]
    header = [name.strip() for name in header]
    for number, line in enumerate(body, start=1):
        if len(line) != len(header):
            raise CatalogError(
                f"Row {number} of {path} has {count_noun(len(line), 'value')}, but the header has "
                f"{count_noun(len(header), 'column')}. Quote values that contain a separator."
            )
    chosen = _choose_columns(path, header, body, columns)
    table = LabelTable()
    one_hot = _one_hot_columns(header, body, chosen)
    if one_hot and "aircraft_type" not in chosen:
        table.notes.append(f"The columns of {path.name} are read as classes: {', '.join(list(one_hot)[:5])}, ...")
    renamed = [f"{theirs} as {ours}" for ours, theirs in chosen.items() if ours != theirs]
    if renamed:
        table.notes.append(f"Columns of {path.name} are read as others: {', '.join(renamed)}.")
    ignored = [name for name in header if name not in chosen.values() and name not in one_hot]
    if ignored:
        table.notes.append(f"Columns of {path.name} are ignored: {', '.join(ignored[:10])}.")
    several = not BOX_COLUMNS.isdisjoint(name.lower() for name in header)
    labels_by_file: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for number, line in enumerate(body, start=1):
        values = dict(zip(header, (value.strip() for value in line), strict=True))
        labels = {ours: values[theirs] for ours, theirs in chosen.items()}
        marked = [name for name in one_hot if float(values[name] or 0) == 1]
        if one_hot and "aircraft_type" not in chosen:
            labels["aircraft_type"] = marked[0] if len(marked) == 1 else ""
        file = labels.pop("file")
        if not file or (file in labels_by_file and not several):
            problem = f"names {file!r} again" if file else "names no file"
            raise CatalogError(f"Row {number} of {path} {problem}. Give each photo one row.")
        labels_by_file[file].append(_complete(labels))
    _add_rows(table, labels_by_file)
    return table


def _choose_columns(
    path: Path, header: Sequence[str], body: Sequence[Sequence[str]], columns: Mapping[str, str]
) -> dict[str, str]:
    """Return the table's columns by our names. Raises CatalogError if there is none with the files."""
    for ours, theirs in columns.items():
        if theirs not in header:
            raise CatalogError(
                f"{path} has no column {theirs!r} for {ours}. Its columns are {', '.join(header) or 'none'}."
            )
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise CatalogError(f"The columns of {path} are invalid: {twice} is there twice. Give each once.")
    plain = {name: re.sub(r"[^a-z0-9]", "", name.lower()) for name in header}
    chosen = dict(columns)
    for ours, synonyms in SYNONYMS.items():
        candidates = [name for name in header if plain[name] in synonyms and name not in chosen.values()]
        candidates.sort(key=lambda name: (name != ours, synonyms.index(plain[name])))
        if ours in ("aircraft_type", "model") and len(candidates) > 1:
            candidates.sort(key=lambda name: -_share_of_types(header.index(name), body))
        if ours not in chosen and candidates:
            chosen[ours] = candidates[0]
    if "file" not in chosen:
        raise CatalogError(
            f"The columns of {path} are invalid: {', '.join(header) or 'none'}. "
            "Give the column 'file', or name it with --column file=NAME."
        )
    return chosen


def _share_of_types(position: int, body: Sequence[Sequence[str]]) -> float:
    """Return the share of the values of a column that are types with a family, among the first values."""
    values = {line[position] for line in body[:500]}
    return sum(parse_label("", value).path.family is not None for value in values) / max(1, len(values))


def _one_hot_columns(header: Sequence[str], body: Sequence[Sequence[str]], chosen: Mapping[str, str]) -> list[str]:
    """Return the columns of classes in a table with a 1 in the column of each photo's class."""
    free = [position for position, name in enumerate(header) if name not in chosen.values()]
    marks = ("0", "1", "", "0.0", "1.0")
    return [header[position] for position in free if body and all(line[position].strip() in marks for line in body)]


def _read_fgvc(texts: Mapping[Path, str]) -> LabelTable:
    """Read lines of an image's number and its label; the files' names say at which level the labels are."""
    values: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for path, text in texts.items():
        match = FGVC_FILES.fullmatch(path.name)
        level = match[1] if match else "variant"
        for line in text.splitlines():
            image, _, label = line.strip().partition(" ")
            if not image.isalnum() or not label:
                return LabelTable()  # prose
            values[image][level] = label.strip()
    rows = {}
    for image, levels in values.items():
        labels = {
            "constructor": levels.get("manufacturer", ""),
            "aircraft_type": levels.get("variant") or levels.get("family", ""),
        }
        rows[image] = _complete(labels)
    return LabelTable(rows)


def _read_coco(path: Path, data: bytes) -> LabelTable:
    """Read a JSON file of COCO. Raises CatalogError if it is invalid."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
        names = {item["id"]: str(item["name"]) for item in content["categories"]}
        files = {item["id"]: str(item["file_name"]) for item in content["images"]}
        labels: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        for item in content["annotations"]:
            name = names[item["category_id"]]
            if name.lower() not in GENERIC:
                labels[files[item["image_id"]]].append(_complete({"aircraft_type": name}))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CatalogError(
            f"{path} is not a COCO file: it needs images, annotations and categories. Give a CSV file instead."
        ) from None
    table = LabelTable()
    _add_rows(table, labels)
    return table


def _add_rows(table: LabelTable, labels_by_file: Mapping[str, Sequence[dict[str, str]]]) -> None:
    """Add files with one label to a table, and count those with several."""
    for file, labels in labels_by_file.items():
        if len({(item["constructor"], item["aircraft_type"]) for item in labels}) == 1:
            table.rows[file] = labels[0]
        else:
            table.ambiguous.add(file)
    if table.ambiguous:
        table.notes.append(f"Skipped {count_noun(len(table.ambiguous), 'photo')} with several different labels.")


def _complete(labels: Mapping[str, str]) -> dict[str, str]:
    """Return all label columns but the file. A missing type is the model or family; a missing constructor inferred."""
    complete = {name: labels.get(name, "") for name in LABEL_COLUMNS if name != "file"}
    kinds = (labels.get(name, "") for name in ("aircraft_type", *LEVELS))
    complete["aircraft_type"] = next((kind for kind in kinds if kind), "")
    complete["constructor"] = complete["constructor"] or infer_constructor(complete["aircraft_type"])
    return complete
