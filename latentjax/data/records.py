"""Random access to the records of a folder that TFDS reads, without TensorFlow."""

import pathlib
from collections.abc import Iterator
from typing import Any

from latentjax.errors import InputError
from latentjax.packages import imported_tfds


class Source:
    """The records of one split, as dicts: images as encoded bytes, texts as str, numbers as int or float.

    It can be sent to other processes.

    Args:
        folder: holds a dataset_info.json and array_record files.
        split: such as "train"; one that the folder lacks is empty.

    Attributes:
        features: the names in a record.

    Raises:
        InputError: the folder is no such data set, or TFDS or array_record is missing.
    """

    def __init__(self, folder: pathlib.Path, split: str):
        tfds = imported_tfds()

        builder = _builder(folder)
        self.features = frozenset(builder.info.features or ())
        decoders: Any = {"image": tfds.decode.SkipDecoding()} if "image" in self.features else None
        try:
            self._records = builder.as_data_source(split, decoders=decoders) if split in builder.info.splits else ()
        except Exception as error:
            raise _damaged(folder, error) from error

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: _plain(name, value) for name, value in self._records[index].items()}


def splits_of(folder: pathlib.Path) -> list[str]:
    """The names of a data set's splits.

    Raises:
        InputError: the folder is no data set.
    """
    return list(_builder(folder).info.splits)


def _builder(folder: pathlib.Path) -> Any:
    tfds = imported_tfds()
    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # TFDS raises whatever parsing its files meets
        raise _damaged(folder, error) from error


def _damaged(folder: pathlib.Path, error: Exception) -> InputError:
    detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return InputError(folder, f"cannot be read as a TFDS data set ({detail})", "give another folder, or make it again")


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value if name == "image" else value.decode()
    return value.item() if getattr(value, "ndim", None) == 0 else value
