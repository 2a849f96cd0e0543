"""Which model one side of a subnetwork was."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which model one side was: what it was read from, how much there is, and one fingerprint for all tensors.

    Where it came from, as far as that is known: repository of the hub, revision as it was asked for, commit, licence by
    the model card. These say nothing about the values, and make no difference to whether two are equal.
    """

    source: str = ""
    tensors: int = 0
    entries: int = 0
    fingerprint: str = ""
    hub_id: str = field(default="", compare=False)
    revision: str = field(default="", compare=False)
    commit: str = field(default="", compare=False)
    licence: str = field(default="", compare=False)

    @property
    def origin(self) -> str:
        """Where it came from, in words; empty if nothing is known.

        >>> Provenance(hub_id="user/name", revision="v1", commit="0123abcd", licence="mit").origin
        'user/name on the hub, revision v1, commit 0123abcd, licence mit'
        """
        parts = [f"{self.hub_id} on the hub" if self.hub_id else ""]
        named = (("revision", self.revision), ("commit", self.commit), ("licence", self.licence))
        parts += [f"{name} {value}" if value else "" for name, value in named]
        return ", ".join(filter(None, parts))
