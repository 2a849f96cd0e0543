"""Rows of a pruned tensor as injection gives them, without the rest of the tensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ken.models.tensors.tensor_bytes import bits_of
from ken.subnetwork.retained_tensor import RetainedTensor


def injected_rows(tensor: RetainedTensor, pretrained: NDArray[np.float64], wanted: slice) -> NDArray[np.float64]:
    """What injection makes of some rows.

    Args:
        tensor: The pruned tensor.
        pretrained: These rows of the pretrained tensor, (rows, n) float64, NaN where there is none; not checked.
        wanted: Which rows they are, without step.

    Returns:
        The rows, (rows, n) float64: stored values where an entry is retained, pretrained ones elsewhere.

    Example:
        >>> import torch
        >>> base = torch.zeros(2, 2)
        >>> tensor = RetainedTensor.of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), np.eye(2, dtype=bool), base)
        >>> injected_rows(tensor, np.zeros((1, 2)), slice(1, 2))
        array([[0., 4.]])
    """
    import torch

    from ken.subnetwork import ulp_distances

    mask, distances = tensor.retained_rows(wanted)
    bits = np.packbits(mask.reshape(-1))
    known = torch.from_numpy(np.where(np.isnan(pretrained), 0.0, pretrained).reshape(-1))
    values = bits_of(known.to(tensor.pretrained_dtype).to(tensor.dtype)).copy()
    if tensor.raw:
        distances = distances - ulp_distances.take(values, np.zeros_like(values), bits, retained=distances.size)
    ulp_distances.exchange(values, None, (bits, distances))
    flat = torch.from_numpy(values.view(np.uint8)).view(tensor.dtype)
    rows: NDArray[np.float64] = flat.to(torch.float64).numpy().reshape(mask.shape)
    return rows
