"""A subnetwork onto the hub: its file and its model card, in one commit.

A card that somebody else wrote is not replaced without a word: that is an error, before anything is uploaded. The
commit names the one that was looked at, so what others add meanwhile is not lost either.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ken.errors import HubError
from ken.models.checkpoints.hub import is_offline
from ken.models.checkpoints.hub_errors import OFFLINE, in_words
from ken.models.checkpoints.location import an_id
from ken.storage.hub_subnetworks import ENDING
from ken.storage.model_card import MARK
from ken.storage.reader import save
from ken.subnetwork.subnetwork import SubnetworkData

_CARD = "README.md"
#: What the file is called where no name is given.
FILE = f"net{ENDING}"


def check_repository(repository: str, file: str) -> None:
    """Refuse a name that is no repository's, and a file that `ken.load` would not find.

    >>> check_repository("user/name", "net.ken.safetensors")
    """
    if not an_id(repository) or "/" not in repository or "@" in repository:
        raise HubError(f"a repository is called user/name, got {repository!r}")
    parts = file.split("/")
    if not file.endswith(ENDING) or any(part in ("", ".", "..") for part in parts) or "\\" in file:
        raise HubError(f"the file must be called NAME{ENDING}, got {file!r}")


def upload(
    net: SubnetworkData,
    repository: str,
    card: str,
    *,
    file: str,
    revision: str | None,
    private: bool | None,
    token: str | None,
    message: str,
    overwrite: bool,
) -> str:
    """Write a subnetwork and its card into a repository; see `ken.Subnetwork.push_to_hub`. Returns the commit's URL."""
    from huggingface_hub import CommitOperationAdd, HfApi

    if is_offline():
        raise HubError(f"{repository}: {OFFLINE}")
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory(prefix="ken-") as folder:
        path = save(net, Path(folder) / "net")  # first: what cannot be stored makes no repository
        with in_words(repository, revision=revision or "", token=token):
            api.create_repo(repository, private=private, exist_ok=True)
            if revision is not None:
                api.create_branch(repository, branch=revision, exist_ok=True)
            info = api.model_info(repository, revision=revision)
            names = {one.rfilename for one in info.siblings or ()}
            if not overwrite and _CARD in names:
                written = api.hf_hub_download(repository, _CARD, revision=info.sha, local_dir=Path(folder) / "card")
                _check_ours(Path(written), repository)
            operations = [
                CommitOperationAdd(file, str(path)),
                CommitOperationAdd(_CARD, card.encode("utf-8", "replace")),
            ]
            commit = api.create_commit(
                repository, operations, commit_message=message, revision=revision, parent_commit=info.sha
            )
    return str(commit.commit_url)


def _check_ours(card: Path, repository: str) -> None:
    if MARK not in card.read_text(encoding="utf-8", errors="replace"):
        raise HubError(
            f"{repository} has a model card (README.md) that was not written by ken: overwrite=True replaces it, and "
            "the text of a card alone is net.model_card(…)"
        )
