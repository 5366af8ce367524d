"""Every file that the README says is accepted is, by the command beside it."""

import pytest

from converters import __main__ as command
from tests import accepted_files


@pytest.mark.parametrize("accepted", accepted_files.FILES, ids=lambda accepted: accepted.file)
def test_one_of_each_is_converted(accepted, tmp_path):
    place, folder = tmp_path / accepted.file.rstrip("/"), tmp_path / "weights"
    accepted.make(place)
    command.run([str(place), str(folder), *accepted.flags.split()])
    assert (folder / "model.json").is_file()


def test_the_readme_has_the_table():
    assert accepted_files.in_readme() == accepted_files.table()
