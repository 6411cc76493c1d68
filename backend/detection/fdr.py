"""The Benjamini-Hochberg false discovery rate over all tests of a run."""

import numpy as np

from backend.detection.types import Floats


def q_values(p: Floats) -> Floats:
    """The q value of each p value, in their order: the smallest false discovery rate at which it is still rejected.

    Source: Benjamini Y., Hochberg Y., J R Stat Soc B 1995;57:289-300.
    """
    tests = len(p)
    if tests == 0:
        return np.empty(0)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * tests / np.arange(1, tests + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1]
    q = np.empty(tests)
    q[order] = np.minimum(adjusted, 1.0)
    return q
