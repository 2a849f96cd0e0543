"""A subnetwork with what can be done with it: its data knows neither its file nor a model to inject it into."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ken.injection import swap
from ken.injection.verify import check_whole
from ken.models.checkpoints.checkpoint import Source
from ken.storage import reader as subnetwork_file
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch


class Subnetwork(SubnetworkData):
    """A subnetwork, which can be saved and injected: a mapping from tensor name to what is stored of that tensor.

    What it holds says `ken.subnetwork.subnetwork.SubnetworkData`.
    """

    def save(self, path: str | Path, *, overwrite: bool = False, progress: bool = True) -> Path:
        """Write the subnetwork into a file; an old subnetwork of that name is replaced when the new one is whole.

        Args:
            path: The file.
            overwrite: A file that holds anything else is replaced, too; never the file that this very subnetwork is
                read from.
            progress: Show a bar if it takes longer than a second.

        Returns:
            The path.

        Raises:
            OutputError: The file holds something else, or is the one that this subnetwork is read from.
            FormatError: The subnetwork cannot be stored: a dtype or a name that safetensors does not know. Nothing has
                been written by then.
            OSError: The disk refuses.

        Example:
            >>> import tempfile, torch, ken
            >>> net = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, 2)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     load(net.save(Path(folder) / "net.ken.safetensors"))
            Subnetwork(rule='ken', k=2: 8 of 16 entries retained; 1 tensors pruned, 0 carried)
        """
        return subnetwork_file.save(self, path, overwrite=overwrite, progress=progress)

    def inject_(self, model: torch.nn.Module) -> None:
        """Write the subnetwork into a model that holds the pretrained weights, in place.

        See `ken.injection.swap.inject_`.
        """
        swap.inject_(self, model)

    def injected(self, model: torch.nn.Module) -> AbstractContextManager[torch.nn.Module]:
        """A block in which the model holds the subnetwork, and after which it does not.

        See `ken.injection.swap.injected`.
        """
        return swap.injected(self, model)


def load(path: str | Path) -> Subnetwork:
    """Open a subnetwork file. Only its header is read; tensors are decoded, and checked, when they are asked for.

    The file must stay where it is while the subnetwork is in use (`Subnetwork.in_memory` does without it); replacing
    it by another one does no harm. A subnetwork that is sent to another process, or pickled, opens it there again.
    Opening a file runs no code of it.

    Args:
        path: A file that `Subnetwork.save` or ``ken prune`` has written, of format 1.

    Returns:
        The subnetwork.

    Raises:
        FormatError: It is not a subnetwork file, is damaged, or of a newer major version.
    """
    data = subnetwork_file.read(path)
    return Subnetwork(**{field.name: getattr(data, field.name) for field in fields(data)})


def verify(net: Subnetwork | str | Path, pretrained: Source | None = None, *, progress: bool = True) -> Subnetwork:
    """Check all that is stored against its checksums and, with a pretrained model, inject every tensor for a trial.

    Then the pretrained tensors must have the fingerprints that the subnetwork relies on, and the injected ones those
    that it promises. A mask and some of its entries at a time are in memory.

    Args:
        net: A subnetwork, or the path of its file.
        pretrained: The pretrained model, as `ken.prune` takes it.
        progress: Show a bar if it takes longer than a second.

    Returns:
        The subnetwork, so that it can be used right away.

    Raises:
        FormatError: Some of it fails; names the tensors (the first ten).

    Example:
        >>> import tempfile, torch, ken
        >>> pretrained = {"w": torch.zeros(4, 4)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = ken.prune({"w": torch.ones(4, 4)}, pretrained, 2).save(Path(folder) / "net.ken.safetensors")
        ...     verify(path, pretrained).share
        0.5
    """
    opened = net if isinstance(net, Subnetwork) else load(net)
    check_whole(opened, pretrained, progress=progress)
    return opened
