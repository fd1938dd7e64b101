"""Numbers over many orders of magnitude, as text."""

import math
import sys


def written(mean: float, half_width: float = math.nan) -> tuple[str, str]:
    """A mean and the number behind its plus-minus sign, to three digits of the larger and with the same decimals.

    A power of ten is split off where they are small or large (0.000374 is 3.74e-4); what is not finite is a dash, or
    empty behind the sign.
    """
    if not math.isfinite(mean):
        return "—", ""
    known = math.isfinite(half_width)
    scale = float(f"{max(abs(mean), half_width if known else 0.0):.2e}")
    if scale < sys.float_info.min:
        return "0", "0" if known else ""
    power = math.floor(math.log10(scale))
    if -3 <= power < 4:
        factor, tail, decimals = 1.0, "", max(0, 2 - power)
    else:
        factor, tail, decimals = 10.0**power, f"e{power}", 2
    said = [f"{value / factor:.{decimals}f}{tail}" for value in ((mean, half_width) if known else (mean,))]
    return said[0], said[1] if known else ""


def rough(value: float, digits: int = 2) -> str:
    """A number to a few digits, for text."""
    if not math.isfinite(value):
        return "not finite"
    mantissa, _, power = f"{value:.{digits}g}".partition("e")
    return f"{mantissa}e{int(power)}" if power else mantissa


def amount(value: float) -> str:
    """A large number to three digits in thousands, millions or billions: 250 k, 1.5 M."""
    if not math.isfinite(value):
        return "—"
    power = min(3, max(0, math.floor(math.log10(abs(value)) / 3 + 1e-9))) if abs(value) >= 1 else 0
    power += power < 3 and float(f"{abs(value) / 1000**power:.3g}") >= 1000
    text = f"{float(f'{value / 1000**power:.3g}'):g}"
    return f"{text} {('', 'k', 'M', 'G')[power]}".rstrip()


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not 1."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
