"""COCO JSON: images, the types as categories, and one annotation over the whole image of each photo."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from planespotter_client.commands.atomic_write import atomic_write
from planespotter_client.convert.results import Row, check_photos, locate


def write_coco(rows: Iterable[Row], source: Path, out: Path, root: Path, leaves: Sequence[Sequence[str]]) -> int:
    """Write a COCO file.

    A photo without a prediction has no annotation. The category is the whole path, and `score` its probability, also
    where it is a guess; `confident` has the names that are not. A photo that cannot be opened is skipped.

    Args:
        rows: Results.
        source: File that they are from.
        out: File to write.
        root: Folder that the paths of photos are relative to.
        leaves: Types that are categories; those of the results are added.

    Returns:
        The number of photos that were skipped.

    Raises:
        ConvertError: The results are frames of a video.
    """
    categories: dict[tuple[str, ...], int] = {}
    for path in leaves:
        categories.setdefault(tuple(path), len(categories) + 1)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    skipped = 0
    for row in rows:
        check_photos(row, source)
        size = _size(locate(row, root))
        if size is None:
            skipped += 1
            continue
        width, height = size
        images.append({"id": len(images) + 1, "file_name": row.file, "width": width, "height": height})
        if row.guess:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": categories.setdefault(row.guess, len(categories) + 1),
                    "bbox": [0, 0, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "score": row.probability,
                    "confident": " ".join(row.confident),
                }
            )
    described = [
        {
            "id": number,
            "name": " ".join([path[0], *path[1:][-1:]]),
            "supercategory": path[-2] if len(path) > 1 else "aircraft",
        }
        for path, number in categories.items()
    ]
    with atomic_write(out) as file:
        document = {"images": images, "annotations": annotations, "categories": described}
        file.write(json.dumps(document, ensure_ascii=False).encode() + b"\n")
    return skipped


def _size(photo: Path) -> tuple[int, int] | None:
    """Return width and height of the upright photo; None if it cannot be opened."""
    from PIL import Image

    try:
        with Image.open(photo) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(0x0112, 1) >= 5 else (width, height)
    except (OSError, ValueError, SyntaxError):
        return None
