"""Photos: recognize formats, and bound what a photo costs to decode, the same way in every package.

Importing this package loads no decoder: `planespotter_photos.reading` and `planespotter_photos.conversion` load Pillow.
"""

from planespotter_photos.errors import ExpensivePhotoError, PhotoError
from planespotter_photos.inspection import (
    DEFAULT_MAX_DECODED_BYTES,
    DEFAULT_MAX_PIXELS,
    InspectedPhoto,
    inspect_photo,
)

__all__ = [
    "DEFAULT_MAX_DECODED_BYTES",
    "DEFAULT_MAX_PIXELS",
    "ExpensivePhotoError",
    "InspectedPhoto",
    "PhotoError",
    "inspect_photo",
]
