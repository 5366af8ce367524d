"""The three kinds of file that PyTorch's weights come in, read without PyTorch.

The zip format (PyTorch 1.6 and later) stores a pickle and one member per storage, each with a CRC-32, which is checked
for every member read. The legacy format is a row of pickles, then storages; safetensors is a JSON header, then the
numbers. LEGACY AND SAFETENSORS FILES CARRY NO CHECKSUMS: a cut or a broken structure is noticed, a flipped bit inside
the numbers is not; only comparing the file's sha256 with a published value can tell.

What a pickle may do is in `torch_pickle`. No size that a file claims is allocated before it was compared with the
file's own size. Source: the layout that `torch.save` writes (zip: NAME/data.pkl, NAME/data/KEY and NAME/byteorder;
legacy: magic number, protocol, system facts, object, storage keys, then for each key an int64 count and the elements,
little-endian), and the format's description in the safetensors library, whose own reader checks it.
"""

import io
import os
import zipfile
from typing import Any, BinaryIO, Literal

import numpy as np
import safetensors

from converters.torch_names import RESAVE, refusal
from converters.torch_pickle import MAX_PICKLE, Unpickler
from latentjax import weights

Format = Literal["zip", "legacy", "safetensors"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
_NOT_TORCH = "name a file written by torch.save, or a safetensors file"
_LARGE_PICKLE = f"has more than {MAX_PICKLE >> 20} MB of pickles beside the numbers, which no network needs"


def sniff(head: bytes) -> Format:
    """Tells the format by the first 512 bytes of a file, before any more of it is read.

    Raises:
        InputError: another kind of file.
    """
    text = head.lstrip().lower()
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"\x80") and LEGACY_MAGIC.to_bytes(10, "little") in head[:32]:
        return "legacy"
    if not head:
        raise refusal("is empty")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise refusal("is a web page, not a PyTorch file", "download the file that the page leads to")
    if head.startswith(b"version https://git-lfs"):
        raise refusal("is a Git LFS pointer, not the file itself", "run: git lfs pull")
    if head[257:262] == b"ustar":
        raise refusal("is in the tar format that PyTorch wrote before 0.4", RESAVE)
    if head[8:9] == b"{":
        return "safetensors"
    raise refusal("is not a PyTorch file", _NOT_TORCH)


def read_zip(file: BinaryIO, size: int) -> Any:
    """What `torch.save` was given; tensors as views of the storages.

    Raises:
        InputError: without a file name, for what is refused. Damage raises any exception.
    """
    if not zipfile.is_zipfile(file):
        raise EOFError
    with zipfile.ZipFile(file) as archive:
        members = _check_members(archive, size)
        folders = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
        if len(folders) != 1:
            raise refusal("is a zip file without a PyTorch data.pkl", _NOT_TORCH)
        folder = folders[0]
        if f"{folder}/constants.pkl" in members:
            raise refusal("is a TorchScript archive", RESAVE)
        if members[f"{folder}/data.pkl"].file_size > MAX_PICKLE:
            raise refusal(_LARGE_PICKLE, RESAVE)

        def member(name: str) -> bytes:
            info = members.get(f"{folder}/{name}")
            if info is None:
                raise refusal(f"lacks its member {name!r:.60}")
            with archive.open(info) as stream:
                data = stream.read(info.file_size)  # zipfile compares the CRC at the member's end
            if len(data) != info.file_size:
                raise EOFError
            return data

        storages: dict[str, np.ndarray] = {}

        def load_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
            if key not in storages:
                storages[key] = np.frombuffer(member(f"data/{key}"), np.uint8)
            if count * dtype.itemsize > storages[key].size:
                raise refusal(f"has too few bytes for storage {key!r:.40}")
            return storages[key]

        if f"{folder}/byteorder" in members and member("byteorder") != b"little":
            raise refusal("was written by a big-endian machine", RESAVE)
        return Unpickler(io.BytesIO(member("data.pkl")), load_storage, size).load()


def _check_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name, after checks that make it safe to read each of them once."""
    infos = archive.infolist()
    for info in infos:
        if ".." in info.filename.split("/") or info.filename.startswith("/") or "\\" in info.filename:
            raise refusal(f"has a member with an unsafe name, {info.filename!r:.60}", "do not use this file")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise refusal("has compressed members, which torch.save does not write")
    members = {info.filename: info for info in infos}
    outside = any(not 0 <= info.header_offset < size for info in infos)
    if outside or len(members) != len(infos) or sum(info.file_size for info in infos) > size:
        raise refusal("has a damaged directory: members overlap or are cut short")
    return members


def read_legacy(file: Any, size: int) -> Any:
    """What `torch.save` of PyTorch before 1.6 was given; tensors as views of the storages.

    Raises:
        InputError: without a file name, for what is refused. Damage raises any exception.
    """
    stream = io.BytesIO(file.read(MAX_PICKLE))
    storages: dict[str, tuple[np.ndarray, int]] = {}
    claimed = 0

    def load_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        # The elements come after the pickle: tensors are views of memory that is filled below.
        nonlocal claimed
        nbytes = count * dtype.itemsize
        if key not in storages:
            claimed += nbytes
            if claimed > size:
                raise refusal("names storages larger than the file")
            storages[key] = np.empty(nbytes, np.uint8), count
        if storages[key][0].size != nbytes:
            raise refusal("gives two sizes for one storage")
        return storages[key][0]

    try:
        magic, protocol, _, root, keys = (Unpickler(stream, load_storage, size).load() for _ in range(5))
    except Exception as error:
        if stream.tell() == MAX_PICKLE:
            raise refusal(_LARGE_PICKLE, RESAVE) from error
        raise
    if magic != LEGACY_MAGIC or protocol != LEGACY_PROTOCOL:
        raise refusal("is of an unknown protocol", RESAVE)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise refusal("has a damaged list of storages")
    if len(keys) != len(storages) or set(keys) != set(storages):
        raise refusal("does not hold the storages that its tensors name")
    file.seek(stream.tell())
    for key in keys:
        data, count = storages[key]
        if int.from_bytes(file.read(8), "little", signed=True) != count:
            raise refusal("gives two sizes for one storage")
        if file.readinto(data) != data.size:
            raise EOFError
    return root


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Name to tensor, as parts of the mapped file.

    Raises:
        InputError: without a file name, for a dtype that is not supported. Damage raises any exception.
    """
    with open(path, "rb") as file:
        if int.from_bytes(file.read(8), "little") > MAX_PICKLE:
            raise refusal(f"has a header of more than {MAX_PICKLE >> 20} MB, which no network needs", RESAVE)
    with safetensors.safe_open(path, framework="numpy"):  # compares header, shapes and offsets with the file's size
        pass
    return weights.views(weights.mapped(path))
