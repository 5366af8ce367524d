"""The TFDS builders: what a record holds; written shard by shard in array_record, without TensorFlow.

TFDS's usual builders shuffle while they write, and need TensorFlow for more than a gigabyte of it.
"""

import contextlib
import errno
import io
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

Shards = dict[str, list[Callable[[], Iterator[tuple[str, dict[str, Any]]]]]]


class _Info(tfds.core.DatasetInfo):
    """Of a set that no one else has: TFDS would look for it in a bucket, and leave a folder in the temporary one."""

    def initialize_from_bucket(self) -> None:
        """There is nothing to look for."""


class _Builder(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Writes records that are made elsewhere.

    Args:
        shards: split to functions that give the (key, record) of a shard each; they are called one after another.
        options: of `tfds.core.DatasetBuilder`.
    """

    VERSION = tfds.core.Version("1.0.0")
    url_infos = None  # nothing is downloaded; TFDS would search for checksums with a package that may be missing

    def __init__(self, shards: Shards, **options: Any):
        self.shards = shards
        super().__init__(file_format="array_record", **options)

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> Shards:
        return self.shards

    def _described(self, features: dict[str, Any]) -> tfds.core.DatasetInfo:
        summary = (self.__doc__ or "").splitlines()[0]
        return _Info(builder=self, description=summary, features=tfds.features.FeaturesDict(features))

    def write(self) -> pathlib.Path:
        """Writes all shards; the folder that `tfds.builder_from_directory` reads.

        Raises:
            OSError: it cannot be written.
        """
        root = pathlib.Path(self.data_dir).parents[1]
        downloads = root / "downloads"
        with contextlib.redirect_stdout(io.StringIO()):  # of downloads, of which there are none
            config = tfds.download.DownloadConfig(try_download_gcs=False)
            try:
                self.download_and_prepare(download_dir=downloads, download_config=config)
            except RuntimeError as error:  # how array_record tells of a full disk
                raise OSError(errno.EIO, " ".join(str(error).split())) from error
        shutil.rmtree(downloads, ignore_errors=True)
        return pathlib.Path(self.data_dir)


class _Pictures(_Builder, skip_registration=True):
    """Pictures of one size, encoded alike.

    Args:
        names: of the classes, in label order; () where labels are numbers.
        encoding: "png" or "jpeg".
        shards, options: see `_Builder`.
    """

    def __init__(self, names: tuple[str, ...], encoding: str, shards: Shards, **options: Any):
        self.names, self.encoding = names, encoding
        super().__init__(shards, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=list(self.names)) if self.names else tfds.features.Scalar(np.float32)
        image = tfds.features.Image(shape=(None, None, 3), encoding_format=self.encoding)
        text = tfds.features.Text()
        return self._described({"image": image, "label": label, "key": text, "group": text})


class Creativity(_Pictures):
    """Pictures of many ancestors (label 1), and of none or generated (label 0)."""


class ImageFolder(_Pictures):
    """Pictures with a class each, or a number."""


class ArtbreederLatents(_Builder):
    """Points in a BigGAN's latent space: z, y, the truncation that z is scaled by (NaN: not told), who made them.

    Args:
        latent_dim: of z.
        num_classes: of y.
        shards, options: see `_Builder`.
    """

    def __init__(self, latent_dim: int, num_classes: int, shards: Shards, **options: Any):
        self.latent_dim, self.num_classes = latent_dim, num_classes
        super().__init__(shards, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        vectors = {"z": self.latent_dim, "y": self.num_classes}
        features: dict[str, Any] = {
            name: tfds.features.Tensor(shape=(length,), dtype=np.float32) for name, length in vectors.items()
        }
        features["truncation"] = tfds.features.Scalar(np.float32)
        return self._described(features | {"name": tfds.features.Text(), "user": tfds.features.Text()})


PICTURES: dict[str, type[_Pictures]] = {"creativity": Creativity, "image_folder": ImageFolder}
