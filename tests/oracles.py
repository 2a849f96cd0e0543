"""The rule written out from its definition, one row at a time, as slowly and plainly as it can be said."""

import numpy as np


def published_rule(row, k, backwards=False):
    """Mask of one row: the k entries claimed by k grid points in the order of their density level, or against it."""
    x = np.asarray(row, dtype=np.float64)
    n = len(x)
    mask = np.zeros(n, dtype=bool)
    if k >= n:
        return ~mask
    if x.max() == x.min():
        mask[:k] = True
        return mask
    h = 1.06 * x.std() * n**-0.2
    points = np.linspace(x.min(), x.max(), k)
    density = [np.exp(-0.5 * ((g - x) / h) ** 2).sum() / (n * h * np.sqrt(2 * np.pi)) for g in points]
    for j in np.argsort(-np.round(density), kind="stable")[:: -1 if backwards else 1]:
        distance = np.where(mask, np.inf, np.abs(x - points[j]))
        mask[distance.argmin()] = True
    return mask


def grid_rule(row, k, backwards=False):
    """The same claims, from left to right, or from right to left."""
    x = np.asarray(row, dtype=np.float64)
    mask = np.zeros(len(x), dtype=bool)
    if k >= len(x):
        return ~mask
    if x.max() == x.min():
        mask[:k] = True
        return mask
    for g in np.linspace(x.min(), x.max(), k)[:: -1 if backwards else 1]:
        mask[np.where(mask, np.inf, np.abs(x - g)).argmin()] = True
    return mask
