"""Photo formats: recognize a file by its content or its suffix, and name it in the words of its owner.

NATIVE formats are decoded by server and training, and stored in catalogs. CONVERTIBLE formats are converted to JPEG
first (`planespotter_photos.conversion`), where the packages for them are installed. The others are only named.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from planespotter_photos.exif import ifd_tags

HEAD_BYTES = 64
"""How much of a file `sniff` needs; the rest tells a raw photo from a TIFF file."""


@dataclass(frozen=True)
class PhotoFormat:
    """A file format.

    Attributes:
        name: Short name, for counts: "HEIC".
        description: With article, for messages: "a HEIC photo (iPhone)".
        suffixes: File name suffixes in lower case.
        packages: Modules that convert it to JPEG; empty if it needs no conversion, or has none.
    """

    name: str
    description: str
    suffixes: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


JPEG = PhotoFormat("JPEG", "a JPEG photo", (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif"))
PNG = PhotoFormat("PNG", "a PNG image", (".png", ".apng"))
WEBP = PhotoFormat("WebP", "a WebP image", (".webp",))
AVIF = PhotoFormat("AVIF", "an AVIF photo", (".avif",), ("PIL._avif",))
BMP = PhotoFormat("BMP", "a BMP image", (".bmp", ".dib"), ("PIL",))
GIF = PhotoFormat("GIF", "a GIF image", (".gif",), ("PIL",))
HEIC = PhotoFormat("HEIC", "a HEIC photo (iPhone)", (".heic", ".heif", ".hif"), ("PIL", "pillow_heif"))
TIFF = PhotoFormat("TIFF", "a TIFF image", (".tif", ".tiff"), ("PIL",))
RAW = PhotoFormat(
    "raw",
    "a raw photo of a camera",
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef"),
        *(".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    ),
    ("PIL", "rawpy"),
)

NATIVE = (JPEG, PNG, WEBP)
CONVERTIBLE = (AVIF, BMP, GIF, HEIC, RAW, TIFF)
UNSUPPORTED = (
    PhotoFormat("JPEG XL", "a JPEG XL photo", (".jxl",)),
    PhotoFormat("JPEG 2000", "a JPEG 2000 image", (".jp2", ".j2k", ".jpf", ".jpx")),
    PhotoFormat("PSD", "a Photoshop document", (".psd", ".psb")),
    PhotoFormat("SVG", "an SVG drawing", (".svg",)),
)
NATIVE_SUFFIXES = frozenset(suffix for photo_format in NATIVE for suffix in photo_format.suffixes)
BY_SUFFIX = {
    suffix: photo_format for photo_format in (*NATIVE, *CONVERTIBLE, *UNSUPPORTED) for suffix in photo_format.suffixes
}

_JXL, _JP2, _PSD, _SVG = UNSUPPORTED
_MAGIC: tuple[tuple[bytes, PhotoFormat], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIRO", RAW),
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"IIU\0", RAW),
    (b"FOVb", RAW),
    (b"\0MRM", RAW),
    (b"II\x1a\0\0\0HEAPCCDR", RAW),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"\xff\x0a", _JXL),
    (b"\0\0\0\x0cJXL ", _JXL),
    (b"\0\0\0\x0cjP  ", _JP2),
    (b"8BPS", _PSD),
    (b"<svg", _SVG),
    (b"<", PhotoFormat("HTML", "a web page")),
    (b"%PDF", PhotoFormat("PDF", "a PDF document")),
    (b"\0\x05\x16\x07", PhotoFormat("AppleDouble", "a metadata file of macOS")),
)
_VIDEO = PhotoFormat("video", "a video")
_SUB_IFDS, _DNG_VERSION = 0x014A, 0xC612  # tags of the raw photos that are TIFF files


def suffix_of(name: str) -> str:
    """Return the suffix of a file name in lower case, with its dot; "" if it has none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  (a Path takes ten times as long)


def sniff(data: bytes, name: str = "") -> PhotoFormat | None:
    """Return the format of a file by its first bytes; None if it is unknown.

    Args:
        data: Content of the file, or at least its first HEAD_BYTES.
        name: Name of the file, if it has one: tells a raw photo from a TIFF file.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return JPEG
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        return _sniff_boxes(data)
    start = data[:HEAD_BYTES].lstrip() if data[:1].isspace() else data
    photo_format = next((kind for magic, kind in _MAGIC if start.startswith(magic)), None)
    if photo_format is TIFF and (BY_SUFFIX.get(suffix_of(name)) is RAW or _is_raw_tiff(data)):
        return RAW
    return photo_format


def _sniff_boxes(data: bytes) -> PhotoFormat:
    """Return the format of a file of ISO boxes, by the brands in its first box."""
    end = min(int.from_bytes(data[:4]), HEAD_BYTES)
    brands = {data[8:12], *(data[start : start + 4] for start in range(16, end, 4))}
    if brands & {b"avif", b"avis"}:
        return AVIF
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return HEIC
    return RAW if b"crx " in brands else _VIDEO


def _is_raw_tiff(data: bytes) -> bool:
    return data[8:10] == b"CR" or any(tag in (_SUB_IFDS, _DNG_VERSION) for tag, *_ in ifd_tags(data))


def describe(data: bytes, name: str = "") -> str:
    """Return what a file is, as a phrase with an article: "a HEIC photo (iPhone)"."""
    photo_format = sniff(data, name)
    if photo_format is not None:
        return photo_format.description
    start = data[:HEAD_BYTES].strip()
    return "text" if start.isascii() and start.decode().isprintable() else "a file of an unknown format"


def is_installed(photo_format: PhotoFormat) -> bool:
    """Return whether the packages that convert `photo_format` are installed."""
    return all(_has_module(package) for package in photo_format.packages)


def _has_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package that would hold it
        return False


def readable_suffixes() -> frozenset[str]:
    """Return the suffixes of the photos that can be read here, in lower case."""
    convertible = (suffix for kind in CONVERTIBLE if is_installed(kind) for suffix in kind.suffixes)
    return NATIVE_SUFFIXES.union(convertible)


def name_of(file: str) -> str:
    """Return what a file is counted as, by its suffix: "HEIC", "NEF"; "" if it is not a photo."""
    photo_format = BY_SUFFIX.get(suffix := suffix_of(file))
    if photo_format is None:
        return ""
    return suffix[1:].upper() if photo_format is RAW else photo_format.name


def summarize_unread(counts: Counter[str]) -> str:
    """Return counts by name as a clause, most frequent first: "3 files in formats that are not read: 2 NEF, 1 PSD"."""
    total = counts.total()
    parts = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item)))
    return f"{total:,} file{'' if total == 1 else 's'} in formats that are not read: {parts}"


def missing_packages(names: Iterable[str]) -> bool:
    """Return whether installing packages would make some files counted by these `names` readable."""
    convertible = {name_of(f"x{suffix}") for kind in CONVERTIBLE if not is_installed(kind) for suffix in kind.suffixes}
    return not convertible.isdisjoint(names)
