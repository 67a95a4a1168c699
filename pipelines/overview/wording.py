"""Times, spans, shares and prices for people. Pure."""

from datetime import UTC, datetime

UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


def span(seconds: float) -> str:
    """48 s, 12 min, 3.5 h, 2 d: two digits are enough to decide by."""
    for unit, name in UNITS:
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}" if seconds < 10 * unit and unit > 60 else f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s" if seconds < 0.05 else f"{seconds:.1f} s"


def ago(at: float | None, now: float) -> str:
    return "never" if at is None else f"{span(now - at)} ago"


def due(at: float | None, now: float) -> str:
    """When something is due; what should have begun says so."""
    if at is None:
        return "not planned"
    return f"in {span(at - now)}" if at > now else f"due for {span(now - at)}"


def clock(at: float) -> str:
    """2026-11-22 19:40 UTC"""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def iso(at: float) -> str:
    """For a <time>'s datetime."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def share(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}%}".replace("%", " %")


def price(value: float | None, currency: str) -> str:
    """0.0123 EUR: three digits that count; a price that is not known is no zero."""
    if value is None:
        return "not known"
    return f"{value:,.2f} {currency}" if value >= 1 or value == 0 else f"{value:.3g} {currency}"


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"
