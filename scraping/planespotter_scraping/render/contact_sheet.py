"""Contact sheet: thumbnails of many pictures in one image."""

import io
from pathlib import Path

from PIL import Image, ImageDraw

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
        """Write the sheet; its suffix decides the format. Nothing is written without pictures."""
        if not self.thumbnails:
            return
        width, height = THUMBNAIL
        rows = -(-len(self.thumbnails) // COLUMNS)
        sheet = Image.new("RGB", (width * min(COLUMNS, len(self.thumbnails)), height * rows))
        for number, thumbnail in enumerate(self.thumbnails):
            sheet.paste(thumbnail, (number % COLUMNS * width, number // COLUMNS * height))
        sheet.save(path)
