"""Counts in messages: a number with its noun in the singular or the plural."""


def count_noun(count: int, singular: str, plural: str = "") -> str:
    """Return a count with its noun, as in "1 photo" and "9,612 photos".

    Args:
        count: Number of things.
        singular: Noun, or a phrase that starts with it.
        plural: Its plural, if that is not `singular` + "s".
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
