"""The README keeps its promises of form."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent


def test_quickstart_has_two_blocks_that_start_from_nothing():
    text = (ROOT / "README.md").read_text()
    quickstart = text.split("## Quickstart")[1].split("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", quickstart, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert block.startswith("python3 -m venv .venv\n")
    assert "launch.py --config=configs/demo.py" in blocks[0]
    assert blocks[1].strip().endswith('pytest -n 2 --dist=loadfile -m "not slow"')


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"@[A-Z]+@", (ROOT / "README.md").read_text())


def test_every_file_that_the_readme_shows_is_there():
    text = (ROOT / "README.md").read_text()
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text, re.DOTALL):
        assert (ROOT / picture).is_file(), picture
    for requirements in re.findall(r"requirements[-\w]*\.txt", text):
        assert (ROOT / requirements).is_file(), requirements
