"""New groups without labels: the classifier adapts to each from its own rows."""

import numpy as np

from mutatis.estimators import AdaptiveClassifier

rng = np.random.default_rng(0)


def clinics(count, rows=50):
    """Two classes, left and right of a centre that every clinic's instrument shifts in its own way."""
    clinic = np.repeat(np.arange(count), rows)
    y = rng.integers(2, size=count * rows)
    centre = rng.normal(scale=3, size=(count, 2))
    X = centre[clinic] + np.stack([2 * y - 1, 0 * y], axis=1) + 0.5 * rng.normal(size=(count * rows, 2))
    return X, y, clinic


X, y, clinic = clinics(60)
X_new, y_new, clinic_new = clinics(20)

model = AdaptiveClassifier(rule="context", random_state=0).fit(X, y, groups=clinic)
print(f"without adaptation {model.score(X_new, y_new):.2f}")
print(f"adapted to each clinic {model.score(X_new, y_new, groups=clinic_new):.2f}")

stream = model.stream()  # one new clinic, whose rows arrive in pieces
for start in (0, 10, 20):
    rows = slice(start, start + 10)
    right = stream.update(X_new[rows]).predict(X_new[rows]) == y_new[rows]
    print(f"after {stream.rows_seen} rows {right.mean():.2f}")
