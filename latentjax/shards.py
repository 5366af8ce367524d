"""Pictures in array_record shards: a data set that TFDS reads, written without TensorFlow."""

import contextlib
import functools
import io
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from latentjax.packages import imported, imported_tfds

NAME, SPLIT = "generated", "train"
# without the number of shards in it, a shard keeps its name when others are added
TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}"


class Example(NamedTuple):
    """A picture of the data set."""

    png: bytes
    sha256: str  # of the PNG
    key: str  # its name
    source: dict[str, Any]  # what it was made from; a text of JSON in the data set


def file_name(shard: int) -> str:
    """What `TEMPLATE` makes of a shard."""
    return f"{NAME}-{SPLIT}.array_record-{shard:05d}"


def features() -> Any:
    """image (PNG), key and source, as TFDS describes them."""
    tfds = imported_tfds()

    image = tfds.features.Image(shape=(None, None, 3), encoding_format="png")
    return tfds.features.FeaturesDict({"image": image, "key": tfds.features.Text(), "source": tfds.features.Text()})


def write(file: pathlib.Path, examples: Iterable[Example]) -> list[tuple[dict[str, Any], str]]:
    """Writes or replaces a shard, to the side and then renamed; the sources, each with the sha256 of its PNG.

    Threads would not write faster: TFDS and array_record hold the interpreter's lock.

    Raises:
        InputError: TFDS or array_record is missing.
        OSError: it cannot be written.
    """
    aside, described, found = file.with_name(f".{file.name}.part"), features(), []
    try:
        with _writer(aside) as write_record:
            for png, sha256, key, source in examples:
                record = {"image": io.BytesIO(png), "key": key, "source": json.dumps(source)}
                write_record(described.serialize_example(record))
                found.append((source, sha256))
        os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)
    return found


@contextlib.contextmanager
def _writer(file: pathlib.Path) -> Iterator[Callable[[bytes], None]]:
    """A function that adds a record to a new file; array_record tells of a full disk by a RuntimeError."""
    array_record_module = imported("array_record.python.array_record_module")

    def telling(function: Callable[..., None], *args: bytes) -> None:
        try:
            function(*args)
        except RuntimeError as error:
            raise OSError(" ".join(str(error).split())) from error

    # a PNG does not become smaller
    writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1,uncompressed")
    try:
        yield functools.partial(telling, writer.write)
    finally:
        telling(writer.close)


def read(file: pathlib.Path, position: int) -> bytes:
    """The PNG of one picture of a shard."""
    tfds = imported_tfds()
    array_record_module = imported("array_record.python.array_record_module")

    with contextlib.closing(array_record_module.ArrayRecordReader(str(file))) as reader:
        record = reader.read([position])[0]
    return features().deserialize_example_np(record, decoders={"image": tfds.decode.SkipDecoding()})["image"]


def write_metadata(folder: pathlib.Path, lengths: list[int], num_bytes: int) -> None:
    """dataset_info.json and features.json; beside the shards they make them what `tfds.builder_from_directory` reads.

    Args:
        folder: an empty one.
        lengths: pictures in each shard.
        num_bytes: of all shards.
    """
    tfds = imported_tfds()

    template = tfds.core.ShardedFileTemplate(
        tfds.core.Path(folder), TEMPLATE, dataset_name=NAME, split=SPLIT, filetype_suffix="array_record"
    )
    split = tfds.core.SplitInfo(name=SPLIT, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template)
    named = folder / file_name(0)  # TFDS takes the split's name from a file
    named.touch()
    # checking the data would need TensorFlow
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features(), split_infos=[split], filename_template=template, check_data=False
    )
    named.unlink()
