"""Housekeeping files: hidden files, and folders in which systems, drives and programs keep copies and thumbnails.

Searching a folder skips them, in every package. A file that the user names is used regardless of its name.
"""

HOUSEKEEPING_NAMES = frozenset(
    {
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__macosx",
        "found.000",
        "lost+found",
        "system volume information",
    }
)
"""Lower-case names: trash, snapshots and thumbnails of Windows, macOS, Linux and network drives (Synology, QNAP)."""
HOUSEKEEPING_SUFFIXES = (".lrdata", ".photoslibrary")
"""Folders in which photo programs keep previews and copies."""


def is_housekeeping(name: str) -> bool:
    """Return whether a file or folder of this name is skipped: `name` has no slash.

    A leading dot hides it, as in .thumbnails, .Trash, and ._IMG_1.JPG, which macOS writes next to each photo on a drive
    of another system.
    """
    lower = name.lower()
    return name.startswith(".") or lower in HOUSEKEEPING_NAMES or lower.endswith(HOUSEKEEPING_SUFFIXES)
