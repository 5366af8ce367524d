"""Commands name the flag at fault, on one line, and end as shells expect."""

import os
import subprocess
import sys

import pytest

from latentjax import command_line
from latentjax.errors import InputError


@pytest.fixture
def parser():
    parser = command_line.Parser("python -m example")
    parser.add_argument("source")
    parser.add_argument("--size", type=int)
    return parser


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "source: is missing; see python -m example --help"),
        (["a", "b"], "b: is not understood; see python -m example --help"),
        (["a", "--sizes=3"], "--sizes=3: is not understood; see python -m example --help"),
        (["a", "--siz=3"], "--siz=3: is not understood; see python -m example --help"),
        (["a", "--size"], "--size: expected one argument; see python -m example --help"),
        (["a", "--size=3.5"], "--size: invalid int value: '3.5'; see python -m example --help"),
    ],
)
def test_an_error_names_its_argument(parser, arguments, line):
    with pytest.raises(InputError) as caught:
        parser.parse_args(arguments)
    assert str(caught.value) == line


def test_a_message_stays_on_one_line_whatever_a_file_is_called(refused):
    def command(arguments):
        raise InputError("a\nb\x1b[31m", "is wrong", "rename it")

    assert refused(lambda: command_line.run(command)) == "a b [31m: is wrong; rename it\n"


def test_debug_shows_the_traceback_before_the_line(monkeypatch, capsys):
    def command(arguments):
        raise InputError("a", "is wrong", "rename it")

    monkeypatch.setattr(sys, "argv", ["command", "--debug"])
    assert command_line.run(command) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("\nerror: a: is wrong; rename it\n")


def test_a_bug_is_no_bad_input(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(ZeroDivisionError):
        command_line.run(lambda arguments: print(1 / 0))


def test_a_reader_that_has_seen_enough_is_no_error():
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from latentjax import command_line\n"
        "sys.exit(command_line.run(lambda arguments: print('line\\n' * 100_000)))\n"
    )
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
