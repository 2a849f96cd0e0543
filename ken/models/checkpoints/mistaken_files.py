"""Files that are not what their names say: called by what they are."""

from __future__ import annotations

from pathlib import Path

_SHORT = 512
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGE = (b"<!doctype html", b"<html", b"<?xml", b"<error")

# What a file of another kind begins with.
_KINDS = {
    b"GGUF": "is a GGUF file: codes of a quantised model, for llama.cpp; give the checkpoint that it was made from",
    b"\x89HDF": "is an HDF5 file, as TensorFlow and Keras write it; save the model with PyTorch, as safetensors",
    b"\x1f\x8b": "is compressed with gzip; unpack it",
    b"7z\xbc\xaf": "is a 7z archive; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it",
}


def pointer(file: Path, name: str = "") -> str:
    """What a file is that stands in for another one: a git-lfs pointer, a page; in words, or nothing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tokenizer.json"
    ...     _ = path.write_text("version https://git-lfs.github.com/spec/v1\\noid sha256:12\\nsize 466062\\n")
    ...     pointer(path)
    'is a git-lfs pointer (to 466062 bytes), not the file itself; run git lfs pull in its folder, or download it again'
    """
    start = _start(file)
    if start.startswith(_LFS):
        size = next((line[5:] for line in start.split(b"\n") if line.startswith(b"size ")), b"")
        wanted = f" (to {size.decode()} bytes)" if size.isdigit() else ""
        return (
            f"is a git-lfs pointer{wanted}, not the file itself; run git lfs pull in its folder, or download it again"
        )
    text = (name or file.name).endswith((".txt", ".jinja", ".md"))  # which may well begin so
    if not text and start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE):
        return "is an HTML page, saved under the name of the file (of an error, or to log in?); download it again"
    return ""


def weights(file: Path) -> str:
    """What a file is that cannot be read as weights: in words, or nothing if that is not known."""
    start = _start(file)
    if not start:
        return "is empty: it was broken off while it was written or downloaded; get it again"
    if word := pointer(file):
        return word
    if not any(start):
        return "begins with zeros: it was broken off while it was written or downloaded; get it again"
    for begin, word in _KINDS.items():
        if start.startswith(begin):
            return word
    if file.suffix == ".safetensors":
        if start.startswith(b"PK") or (start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
            return "is a file of torch.save, not of safetensors; name it pytorch_model.bin, or convert it"
        if start.lstrip()[:1] in (b"{", b"[") and start.isascii():
            return "is JSON text, not weights (a message of the server?); download it again"
    elif start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000:
        return "is a safetensors file; name it so: with the ending .safetensors"
    if start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return "is text, not weights; download it again"
    return ""


def _start(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_SHORT)
