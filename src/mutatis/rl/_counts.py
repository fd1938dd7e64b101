"""Settings that count something."""


def check_counts(**counts: int) -> None:
    """**Raises:** `ValueError` for the first that is below 1, by its name."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: must be at least 1, not {value}.")
