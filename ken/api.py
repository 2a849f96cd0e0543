"""A subnetwork with what can be done with it: its data knows neither its file nor a model to inject it into."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.injection import swap
from ken.injection.verify import check_whole
from ken.models.checkpoints.checkpoint import Source
from ken.storage import reader as subnetwork_file
from ken.storage.hub_subnetworks import locate_subnetwork
from ken.storage.hub_upload import FILE, check_repository, upload
from ken.storage.model_card import model_card
from ken.storage.shared_places import SubnetworkPlace, opened
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import pandas as pd
    import torch


class Subnetwork(SubnetworkData):
    """The retained entries and carried tensors of a model: a mapping from tensor name to what is stored of that tensor.

    Names are those of the fine-tuned model, and an alias of a tied tensor finds the tensor itself. It makes no
    difference whether the tensors lie in memory or in a file, from which they are decoded when asked for.

    Attributes:
        tensors: A `ken.RetainedTensor` or a `ken.CarriedTensor` by name, in model order.
        recipe: How it was made: rule, k, seed, patterns, and the versions of what computed it.
        tied: Aliases of tied tensors, and the names that these are stored under.
        only_pretrained: Tensors of the pretrained model without a fine-tuned counterpart, with their shapes; nothing
            is stored of them.
        architecture: The transformers class and configuration of the fine-tuned model; None if it has none.
        prefix: The fine-tuned model's prefix of base-model names.
        fine_tuned: Which model the fine-tuned one was: source, tensors, entries, fingerprint.
        pretrained: The same of the pretrained one.
        files: The configuration and tokenizer files of a fine-tuned checkpoint folder.
        shards: The file names of its tensors, if it had several.
        notes: Sentences about what was guessed, looked through or passed over when the two models were read, and what
            they look like if they were mixed up.
        lacking: Tensors that the fine-tuned checkpoint lacks though its model has them. The whole of each is the
            pretrained tensor's that is given here. They are neither stored nor counted, and no keys of the mapping.
        relation: The size of the update, and how far the two models are alike; None if it was not measured.

    Example:
        >>> import torch, ken
        >>> net = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, 2)
        >>> net
        Subnetwork(rule='ken', k=2: 8 of 16 entries retained; 1 tensors pruned, 0 carried)
        >>> net["w"].retained
        8
    """

    def save(self, path: str | Path, *, overwrite: bool = False, progress: bool = True) -> Path | str:
        """Write the subnetwork into a file; an old subnetwork of that name is replaced when the new one is whole.

        Args:
            path: The file, or its URL (``"s3://bucket/net.ken.safetensors"``): it is written on the disk first, and put
                there whole.
            overwrite: A file that holds anything else is replaced, too; never the file that this very subnetwork is
                read from.
            progress: Show a bar if it takes longer than a second.

        Returns:
            The path, or the URL.

        Raises:
            OutputError: The file holds something else, or is the one that this subnetwork is read from.
            FormatError: The subnetwork cannot be stored: a dtype or a name that safetensors does not know. Nothing has
                been written by then.
            RemoteError: It cannot be put behind the URL.
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

        The model must have a place for every tensor, carried ones included, in the fine-tuned shape; only tensors
        without pretrained counterpart (a head) may have another shape, and get the new one. The change goes around
        autograd, like that of `load_state_dict`. Nobody else may use the model meanwhile.

        Args:
            model: The model. If this is interrupted, it is set back.

        Raises:
            SubnetworkError: The model does not hold the pretrained weights, or anything else does not fit; it has not
                been changed then.

        Example:
            >>> import torch, ken
            >>> model, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
            >>> ken.prune(fine_tuned, model, k=8).inject_(model)
            >>> torch.equal(model.weight, fine_tuned.weight)
            True
        """
        swap.swap(model, current=None, to=self)

    def injected(self, model: torch.nn.Module) -> AbstractContextManager[torch.nn.Module]:
        """A block in which the model holds the subnetwork, and after which all is as it was, bit for bit.

        Args:
            model: The model, on pretrained weights.

        Returns:
            A context manager that gives the model.

        Raises:
            SubnetworkError: As `inject_` does, and at the end of the block if the retained tensors were changed within
                it: they are then left as they are.

        Example:
            >>> import torch, ken
            >>> model, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
            >>> before = model.weight.clone()
            >>> with ken.prune(fine_tuned, model, k=8).injected(model):
            ...     torch.equal(model.weight, fine_tuned.weight)
            True
            >>> torch.equal(model.weight, before)
            True
        """
        return swap.injected(self, model)

    def model_card(
        self,
        repository: str,
        *,
        file: str = FILE,
        results: pd.DataFrame | None = None,
        metric: str = "metric",
        task: str = "",
        dataset: str = "",
        licence: str = "",
        base_model: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> str:
        """The text of a model card for the hub (README.md): metadata in YAML, then what it is and how to inject it.

        Args:
            repository: Where it is to go, ``"user/name"``.
            file: What the subnetwork's file is called there.
            results: A table of `ken.sweep` or `ken.results.read`. The lines of this subnetwork become the model-index,
                with their standard errors, all of them a table.
            metric: What was measured, such as ``"accuracy"``.
            task: What the model is for, as the hub calls it; by default what its class says.
            dataset: What it was measured on.
            licence: An identifier of the hub such as ``"apache-2.0"``; by default the fine-tuned model's, if known.
            base_model: Hub id of the pretrained model; by default where it came from, if known. The relation to it is
                "adapter": like one, a subnetwork is nothing without its base.
            facts: Further metadata, as `huggingface_hub.ModelCardData` takes it: language, datasets, tags.

        Returns:
            The text.

        Raises:
            HubError: A name is none of the hub's, or the metadata cannot be written.
            ResultsError: The results have no line of this subnetwork.

        Example:
            >>> import torch, ken
            >>> net = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, 2)
            >>> print(net.model_card("user/name", base_model="org/base").partition("library_name")[0])
            ---
            base_model: org/base
            <BLANKLINE>
        """
        check_repository(repository, file)
        return model_card(
            self,
            repository,
            file=file,
            results=results,
            metric=metric,
            task=task,
            dataset=dataset,
            licence=licence,
            base_model=base_model,
            facts=facts,
        )

    def push_to_hub(
        self,
        repository: str,
        *,
        revision: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Add a subnetwork",
        overwrite: bool = False,
        file: str = FILE,
        results: pd.DataFrame | None = None,
        metric: str = "metric",
        task: str = "",
        dataset: str = "",
        licence: str = "",
        base_model: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> str:
        """Put the subnetwork and its model card on the hub, in one commit; the repository is made if it is not there.

        Args:
            repository: Where to, ``"user/name"``.
            revision: The branch; it is made if it is not there.
            private: Whether a new repository is for its owner alone; None: as the owner's settings have it.
            token: A token that may write, if not the one that is set (HF_TOKEN) or stored (``hf auth login``).
            commit_message: What the commit says.
            overwrite: Replace a README.md that ken did not write. One that ken wrote is replaced in any case.
            file: What the file is called there; it must end in ``.ken.safetensors``.
            results: As `model_card` takes it, and so the others.
            metric: As `model_card` takes it.
            task: As `model_card` takes it.
            dataset: As `model_card` takes it.
            licence: As `model_card` takes it.
            base_model: As `model_card` takes it.
            facts: As `model_card` takes it.

        Returns:
            The address of the commit.

        Raises:
            HubError: The repository may not be written, has a README.md of somebody else, or was changed meanwhile.
            ResultsError: The results have no line of this subnetwork.
            FormatError: The subnetwork cannot be stored.

        Example:
            ```python
            net.push_to_hub("user/name", results=table, metric="accuracy", dataset="my texts")
            ken.load("user/name")  # anywhere
            ```
        """
        card = self.model_card(
            repository,
            file=file,
            results=results,
            metric=metric,
            task=task,
            dataset=dataset,
            licence=licence,
            base_model=base_model,
            facts=facts,
        )
        return upload(
            self,
            repository,
            card,
            file=file,
            revision=revision,
            private=private,
            token=token,
            message=commit_message,
            overwrite=overwrite,
        )


def load(path: SubnetworkPlace) -> Subnetwork:
    """Open a subnetwork file. Only its header is read; tensors are decoded, and checked, when they are asked for.

    The file must stay where it is while the subnetwork is in use (`Subnetwork.in_memory` does without it); replacing
    it by another one does no harm. A subnetwork that is sent to another process, or pickled, opens it there again.
    Opening a file runs no code of it.

    Args:
        path: A file that `Subnetwork.save` or ``ken prune`` has written, of format 1. Or a place on the hub
            (``"user/name"``, ``"hf://user/name@v1/net.ken.safetensors"``, a `ken.Location`): of a repository the only
            subnetwork that it has, which alone is got. The hub is asked whether there is a newer one, unless the
            revision is a commit hash or the hub cannot be reached. Or a URL (``"s3://bucket/net.ken.safetensors"``),
            from which ranges are read.

    Returns:
        The subnetwork.

    Raises:
        FormatError: It is not a subnetwork file, is damaged, or of a newer major version.
        HubError: The repository has no subnetwork, or several, or may not be read.

    Example:
        >>> import tempfile, torch, ken
        >>> net = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load(net.save(Path(folder) / "net.ken.safetensors")) == net
        True
    """
    return subnetwork_file.read(locate_subnetwork(path), Subnetwork)


def verify(
    net: Subnetwork | SubnetworkPlace,
    pretrained: Source | None = None,
    *,
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> Subnetwork:
    """Check all that is stored against its checksums and, with a pretrained model, inject every tensor for a trial.

    Then the pretrained tensors must have the fingerprints that the subnetwork relies on, and the injected ones those
    that it promises. A mask and some of its entries at a time are in memory.

    Args:
        net: A subnetwork, or the path of its file, or its place on the hub, as `load` takes it.
        pretrained: The pretrained model, as `ken.prune` takes it.
        executor: Whose workers check it, some tensors each, as for `ken.prune`; net and pretrained are places then,
            which the workers open themselves. The same comes of it.
        timeout: Seconds that a worker may take for some tensors (at least one, or 67 million entries).
        progress: Show a bar if it takes longer than a second.

    Returns:
        The subnetwork, so that it can be used right away.

    Raises:
        FormatError: Some of it fails; names the tensors (the first ten).
        ExecutorError: Workers are gone, or hang.

    Example:
        >>> import tempfile, torch, ken
        >>> pretrained = {"w": torch.zeros(4, 4)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = ken.prune({"w": torch.ones(4, 4)}, pretrained, 2).save(Path(folder) / "net.ken.safetensors")
        ...     verify(path, pretrained).share
        0.5
    """
    subnetwork, place = opened(net, Subnetwork, executor)
    check_whole(subnetwork, pretrained, place=place, executor=executor, timeout=timeout, progress=progress)
    return subnetwork
