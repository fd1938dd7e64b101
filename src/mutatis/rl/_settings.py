"""Settings that count something, or are a share of it."""


def check_counts(**counts: int) -> None:
    """**Raises:** `ValueError` for the first that is below 1, by its name."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: must be at least 1, not {value}.")


def check_shares(**shares: float) -> None:
    """**Raises:** `ValueError` for the first that is below 0 or above 1, by its name."""
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: must be from 0 to 1, not {value}.")
