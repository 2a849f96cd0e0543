"""What files of weights are called: by transformers, diffusers and others, in variants and in shards.

model.safetensors                          one file
model.fp16.safetensors                     a variant of it
model.fp16-00001-of-00002.safetensors      a shard
model.safetensors.index.fp16.json          the index of shards

Other names are no guess: a file that has one is given by its path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Names and endings of whole models, in the order in which they are looked for; the first two as in transformers.
KINDS = (
    ("model", "safetensors"),
    ("pytorch_model", "bin"),
    ("diffusion_pytorch_model", "safetensors"),
    ("diffusion_pytorch_model", "bin"),
    ("consolidated", "safetensors"),
)
_STEM = "(?P<stem>model|pytorch_model|diffusion_pytorch_model|consolidated)"
_VARIANT = r"(\.(?P<variant>\w[\w-]*?))?"
_LATER = r"(\.(?P<later>\w[\w-]*?))?"
_ENDING = r"\.(?P<ending>safetensors|bin)"
_WHOLE = re.compile(rf"{_STEM}{_VARIANT}{_ENDING}", re.ASCII)
_SHARD = re.compile(rf"{_STEM}{_VARIANT}-(?P<number>\d{{5}})-of-(?P<count>\d{{5}}){_LATER}{_ENDING}", re.ASCII)
_INDEX = re.compile(rf"{_STEM}{_VARIANT}{_ENDING}\.index{_LATER}\.json", re.ASCII)
_ANY_INDEX = re.compile(r".+\.index(\.[\w-]+)?\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileName:
    """What the name of a file of weights says; number and count are 0 but for a shard."""

    name: str
    stem: str
    ending: str
    variant: str = ""
    number: int = 0
    count: int = 0
    index: bool = False

    @property
    def written(self) -> str:
        """What it is called where it is written again: as safetensors, without its variant, which nobody asks for."""
        stem = _written(self.stem)
        shard = f"-{self.number:05d}-of-{self.count:05d}" if self.count else ""
        return f"{stem}{shard}.safetensors"


def parse(name: str) -> FileName | None:
    """What the name of a file says, if it is one that the libraries give to weights; None of any other.

    >>> parse("model.fp16-00001-of-00002.safetensors")
    FileName(name='model.fp16-00001-of-00002.safetensors', stem='model', ending='safetensors', variant='fp16',
             number=1, count=2, index=False)
    >>> parse("pytorch_model.bin.index.json").index, parse("optimizer.bin")
    (True, None)
    """
    for pattern in (_SHARD, _INDEX, _WHOLE):
        if match := pattern.fullmatch(name):
            parts = match.groupdict()
            if parts["variant"] and parts.get("later"):
                return None
            return FileName(
                name,
                parts["stem"],
                parts["ending"],
                variant=parts["variant"] or parts.get("later") or "",
                number=int(parts.get("number") or 0),
                count=int(parts.get("count") or 0),
                index=pattern is _INDEX,
            )
    return None


def is_index(name: str) -> bool:
    """Whether a file is an index of shards by its name, whatever the shards are called.

    >>> is_index("any.safetensors.index.json"), is_index("config.json")
    (True, False)
    """
    return bool(_ANY_INDEX.fullmatch(name))


def index_beside(name: str) -> str:
    """The name of the index that is written for a shard, in whose folder it lies.

    >>> index_beside("unet/diffusion_pytorch_model-00001-of-00002.safetensors")
    'unet/diffusion_pytorch_model.safetensors.index.json'
    """
    folder, slash, file = name.rpartition("/")
    named = parse(file)
    stem = "model" if named is None else _written(named.stem)
    return f"{folder}{slash}{stem}.safetensors.index.json"


def is_whole(name: str) -> bool:
    """Whether a file is found without an index, by the name alone.

    >>> is_whole("unet/diffusion_pytorch_model.safetensors"), is_whole("model-00001-of-00002.safetensors")
    (True, False)
    """
    named = parse(name.rpartition("/")[2])
    return named is not None and not named.count and (named.stem, named.ending) in KINDS and not named.variant


def _written(stem: str) -> str:
    return "model" if stem == "pytorch_model" else stem
