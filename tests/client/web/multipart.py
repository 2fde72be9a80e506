"""Multipart bodies as the page sends them."""

from dataclasses import fields

import httpx

from planespotter_client import Limits

LIMITS = Limits(**{field.name: 1000 for field in fields(Limits)})
CONTENT_TYPE = "multipart/form-data; boundary=0123456789abcdef"


def multipart(photos: list[tuple[str, bytes]]) -> bytes:
    """Return the body for photos with their ids."""
    files = [(photo_id, ("photo", content)) for photo_id, content in photos]
    request = httpx.Request("POST", "http://page", files=files, headers={"content-type": CONTENT_TYPE})
    return request.read()
