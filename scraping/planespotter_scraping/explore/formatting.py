"""Formatting of counts, shares, dates and sizes for people."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def format_count(value: int) -> str:
    """Return a count with thousands separators: 9,612."""
    return f"{value:,}"


def format_share(part: int, total: int) -> str:
    """Return a share in whole percent, never 0 % of something nor 100 % of less than everything."""
    if not total:
        return "-"
    percent = 100 * part / total
    if 0 < percent < 1:
        return "<1\u00a0%"
    if 99 < percent < 100:
        return ">99\u00a0%"
    return f"{percent:.0f}\u00a0%"


def format_date(date: str) -> str:
    """Return an ISO date for display: "11 Jan 2020" for 2020-01-11, "Jan 2020" for 2020-01, and 2020 unchanged."""
    year, *rest = date.split("-")
    month = [MONTHS[int(rest[0]) - 1]] if rest else []
    return "\u00a0".join([*(str(int(number)) for number in rest[1:2]), *month, year])


def format_bytes(count: int) -> str:
    """Return a number of bytes with its decimal unit: 1.2 MB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g}\u00a0{unit}" if count / scale < 100 else f"{count / scale:.0f}\u00a0{unit}"
    return f"{count} bytes"


def have(count: int) -> str:
    """Return "has" or "have", to agree with a count."""
    return "has" if count == 1 else "have"
