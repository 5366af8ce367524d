"""Prepares the data set that config.data describes."""

import pathlib

from absl import logging

from latentjax import data
from latentjax.config import ConfigDict
from latentjax.jobs.workbench import start
from latentjax.run_folder import RunFolder, job


@job
def run(config: ConfigDict, workdir: str) -> str | None:
    """Makes the set in data.folder, or in WORKDIR/data, unless it is there.

    Raises:
        InputError: a picture, list or field is wrong, or the folder holds something else.
    """
    folder = RunFolder(workdir, config)
    start(config)
    place = pathlib.Path(config.data.folder or folder.path / "data")
    preparation = data.check(config.data, place)
    folder.create()  # only now, so that a workdir is not bound to a config that is refused
    folder.write_run()
    examples = preparation.finish()
    logging.info("%s holds the set %s", examples.folder, examples.sha256[:16])
    return f"the data set in {examples.folder}"
