"""Contact sheet: thumbnails of many pictures in one image."""

import io
from pathlib import Path

from PIL import Image, ImageDraw

from planespotter_scraping.atomic_write import atomic_write
from planespotter_scraping.render.pictures import Picture

THUMBNAIL = (240, 160)  # pixels
COLUMNS = 8
MAX_THUMBNAILS = 400


class ContactSheet:
    """Collects thumbnails, each with the id of its picture."""

    def __init__(self) -> None:
        self.thumbnails: list[Image.Image] = []

    def add(self, picture: Picture) -> None:
        """Add a picture; those after the first MAX_THUMBNAILS are skipped."""
        if len(self.thumbnails) < MAX_THUMBNAILS:
            thumbnail = Image.open(io.BytesIO(picture.jpeg)).resize(THUMBNAIL)
            ImageDraw.Draw(thumbnail).text((4, 2), picture.photo_id, fill=(255, 40, 40))
            self.thumbnails.append(thumbnail)

    def save(self, path: Path) -> None:
        """Write the sheet atomically. Nothing is written without pictures.

        Args:
            path: File to create or replace; its suffix, such as .png, decides the format.

        Raises:
            KeyError: Pillow knows no format with this suffix.
        """
        if not self.thumbnails:
            return
        width, height = THUMBNAIL
        rows = -(-len(self.thumbnails) // COLUMNS)
        sheet = Image.new("RGB", (width * min(COLUMNS, len(self.thumbnails)), height * rows))
        for number, thumbnail in enumerate(self.thumbnails):
            sheet.paste(thumbnail, (number % COLUMNS * width, number // COLUMNS * height))
        image_format = Image.registered_extensions()[path.suffix.lower()]
        with atomic_write(path) as temporary:
            sheet.save(temporary, image_format)
