"""The error for a photo that cannot be decoded, with a reason of the API."""


class PhotoError(Exception):
    """A photo cannot be decoded.

    Attributes:
        reason: A constant of the API: PHOTO_EMPTY, PHOTO_FORMAT_UNSUPPORTED, PHOTO_TOO_LARGE or PHOTO_UNDECODABLE.
        metadata: The sizes in the message, as text, by name.
    """

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = {name: str(value) for name, value in metadata.items()}


class ExpensivePhotoError(Exception):
    """A photo is valid, but decoding it would probably take longer than the caller allows.

    Attributes:
        seconds: Estimated processor time in seconds.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"decoding takes about {seconds:.2f} s")
        self.seconds = seconds


def undecodable(size: int) -> PhotoError:
    """Return the error for a damaged file of `size` bytes."""
    return PhotoError(
        "PHOTO_UNDECODABLE",
        f"The photo is damaged or truncated: its {size:,} bytes have a valid header but cannot be decoded. "
        "Send it again.",
        bytes=size,
    )
