"""Sizes for people."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def readable(count: int) -> str:
    """Bytes as the upload page's script shows them: `1.5 MiB`."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.{1 if amount < 100 else 0}f} {unit}"
