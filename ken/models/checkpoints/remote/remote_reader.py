"""A safetensors file behind a URL: its header is read at once, and checked; entries by ranges when asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import FormatError, KenError
from ken.models.checkpoints.remote.mirror import remote_behind
from ken.models.checkpoints.remote.remote_file import RemoteFile
from ken.models.checkpoints.remote.remote_header import read_header
from ken.models.checkpoints.safetensors_file import DTYPES, Reader
from ken.models.tensors.tensor_bytes import dtype_named

if TYPE_CHECKING:
    import torch

_NAMES = {stored: name for name, stored in DTYPES.items()}


def open_reader(path: str | Path) -> Reader:
    """The reader of a safetensors file: of that on the disk, or of the remote one that it stands for."""
    file = remote_behind(Path(path))
    return Reader(path) if file is None else RemoteReader(file, Path(path))


class RemoteReader(Reader):
    """A `Reader` of a file that is not on the disk. Tensors are on the meta device: `whole` and `entries` read values.

    path is the stub on the disk, which has the header alone.
    """

    def __init__(self, file: RemoteFile, path: Path) -> None:
        self.path, self.file = path, file
        self.header = read_header(file.read, file.size, where=file.text)
        # In the order of the library, so that the same tensors come in the same order.
        self.names = tuple(sorted(self.header.blobs))
        self.metadata = self.header.metadata
        self._tensors, self._entries = {}, {}

    @property
    def identity(self) -> tuple[Any, Any]:
        """Which file of which file system this reads."""
        return self.file.identity

    def layout(self, name: str) -> tuple[str, tuple[int, ...]]:
        """(dtype by safetensors' name, shape) of a blob, from the header alone."""
        blob = self.header.blobs[name]
        return blob.dtype, blob.shape

    def tensor(self, name: str) -> torch.Tensor:
        """Shape and dtype of a blob, on the meta device."""
        import torch

        blob = self.header.blobs.get(name)
        if blob is None:
            raise FormatError(f"{self.file.text}: {name} cannot be read: there is no such tensor")
        if blob.dtype not in _NAMES:
            raise FormatError(f"{self.file.text}: {name} cannot be read: torch has no {blob.dtype}")
        return torch.empty(blob.shape, dtype=dtype_named(_NAMES[blob.dtype]), device="meta")

    @property
    def _begins(self) -> dict[str, int]:
        return {name: blob.begin for name, blob in self.header.blobs.items()}

    @property
    def _head(self) -> bytes:
        return self.header.raw

    def _read(self, at: int, length: int) -> bytearray:
        return self.file.read(at, length)

    def __reduce__(self) -> tuple[Callable[..., Reader], tuple[str, str]]:
        """For another process: there the file is opened again, with the credentials that are set there."""
        return _reopened, (self.file.text, self.fingerprint)


def _reopened(url: str, fingerprint: str) -> RemoteReader:
    """The reader of a file that another process had open. Raises `FormatError` if it is gone, or is another one."""
    from ken.models.checkpoints.remote.mirror import mirrored_file

    remedy = "a subnetwork can be sent without its file as net.in_memory"
    try:
        path = mirrored_file(url)
        file = remote_behind(path)
        assert file is not None, "a safetensors file has a stub"
        reader = RemoteReader(file, path)
    except (OSError, KenError) as error:
        raise FormatError(f"this relies on the file {url}, which cannot be opened here ({error}); {remedy}") from error
    if reader.fingerprint != fingerprint:
        raise FormatError(f"this relies on the file {url}, which has become another since; {remedy}")
    return reader
