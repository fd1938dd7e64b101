"""Your own arrays with groups: a label whose rule turns round from site to site, and sites never met before."""

import numpy as np

from mutatis.estimators import AdaptiveClassifier


def measurements(num_sites, rows, seed):
    """Column 0 decides; column 1 says, with much noise, which way round. One row cannot tell, a site's rows can."""
    rng = np.random.default_rng(seed)
    site = np.repeat(np.arange(num_sites), rows)
    sign = rng.permutation(np.where(np.arange(num_sites) % 2, 1, -1))[site]
    signal, noise = rng.normal(size=(2, len(site)))
    return np.stack([signal, sign + 2 * noise], axis=1), (signal * sign > 0).astype(int), site


X, y, site = measurements(num_sites=24, rows=60, seed=0)
X_new, y_new, site_new = measurements(num_sites=16, rows=100, seed=1)

for rule in ("none", "context"):
    classifier = AdaptiveClassifier(rule=rule, random_state=0).fit(X, y, groups=site)
    accuracy = classifier.score(X_new, y_new, groups=site_new)
    print(f"rule={rule!r}: accuracy on 16 new sites {accuracy:.3f}")

one = site_new == 0
stream = classifier.stream()
print("one new site, its rows arriving:")
for start in range(0, 100, 20):
    chunk = X_new[one][start : start + 20]
    correct = (stream.update(chunk).predict(X_new[one]) == y_new[one]).mean()
    print(f"  after {stream.rows_seen:3d} unlabelled rows: accuracy {correct:.2f}")
