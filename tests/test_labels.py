"""Lists of ancestors, scores and users; whose entry is whose; splits by hash."""

import json
import pathlib
import re

import pytest

from latentjax.data import labels
from latentjax.data.labels import Entry
from latentjax.errors import InputError


@pytest.fixture
def listed(tmp_path: pathlib.Path):
    """Writes a list and gives its path."""

    def write(text: str | bytes, name: str = "list.txt") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def values(entries: dict) -> dict:
    return {name: entry.value for name, entry in entries.items()}


def test_the_three_forms_of_a_list_say_the_same(listed):
    spaced = listed("a.png 0\n\nwith spaces.jpg\t12\r\n  info?k=1&x=2.1   400  \n")
    table = listed('ancestors,key,other\n0,a.png,\n12,"with spaces.jpg",x\n400,info?k=1&x=2.1,\n', "b.csv")
    names = {"a.png": 0, "with spaces.jpg": 12, "info?k=1&x=2.1": 400}
    lines = listed("".join(json.dumps({"key": k, "ancestors": n}) + "\n" for k, n in names.items()), "c.JSONL")
    for path in (spaced, table, lines):
        assert values(labels.ancestors([path])) == names


def test_several_lists_are_one(listed):
    first, second = listed("a 1\nb 2"), listed("c 3\nb 2\n", "second.txt")
    assert values(labels.ancestors([first, second])) == {"a": 1, "b": 2, "c": 3}


def test_a_byte_order_mark_is_no_part_of_a_key(listed):
    assert values(labels.ancestors([listed(b"\xef\xbb\xbfa 1\n")])) == {"a": 1}
    assert values(labels.scores(listed(b"\xef\xbb\xbfname,value\na,1\n", "s.csv"))) == {"a": 1.0}


@pytest.mark.parametrize(
    ("name", "text", "line", "what"),
    [
        ("a.txt", "a 1\nb -2\n", 2, "'-2' is no number of ancestors"),
        ("a.txt", "a 1.5", 1, "'1.5' is no number of ancestors"),
        ("a.txt", "a 1_000", 1, "'1_000' is no number of ancestors"),
        ("a.txt", "a many", 1, "'many' is no number of ancestors"),
        ("a.txt", "a 1\n\nlonely\n", 3, "'lonely' is not a key and a number"),
        ("a.txt", "a 1\nb 2\na 3\n", 3, "'a' has 3 here and 1 in "),
        ("a.csv", "name,ancestors\na,1\n", 1, "has the columns 'name, ancestors', not key and ancestors"),
        ("a.csv", "key,ancestors\na,1\nb\n", 3, "has 1 columns, the header 2"),
        ("a.csv", "key,ancestors\na,\n", 2, "'' is no number of ancestors"),
        ("a.csv", 'key,ancestors\n"a,1\n', 2, "is no line of a CSV"),
        ("a.jsonl", '{"key": "a", "ancestors": 1}\n{"key": "b", "ancestors": -1}', 2, "'-1' is no number of ancestors"),
        ("a.jsonl", '{"key": "a", "ancestors": 1.0}', 1, "'1.0' is no number of ancestors"),
        ("a.jsonl", '{"key": "a", "ancestors": true}', 1, "'true' is no number of ancestors"),
        ("a.jsonl", '{"key": "a"}', 1, 'is no object with a "key" and its "ancestors"'),
        ("a.jsonl", "[1]", 1, 'is no object with a "key" and its "ancestors"'),
        ("a.jsonl", "{", 1, 'is no object with a "key" and its "ancestors"'),
    ],
)
def test_a_wrong_line_is_refused_by_file_and_number(listed, name, text, line, what):
    path = listed(text, name)
    with pytest.raises(InputError, match=re.escape(what)) as caught:
        labels.ancestors([path])
    assert caught.value.where == f"{path}, line {line}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "what"), [(b" \n\n", "is empty"), (b"\xff\xfe", "is not UTF-8 text")])
def test_a_file_that_is_no_list_is_refused(listed, data, what):
    with pytest.raises(InputError, match=what):
        labels.ancestors([listed(data)])


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        labels.ancestors([str(tmp_path / "missing.txt")])


def test_the_header_of_scores_may_be_left_out(listed):
    assert values(labels.scores(listed("a,0.5\nb,-1e3\n"))) == {"a": 0.5, "b": -1000.0}
    assert values(labels.scores(listed("value,name\n0.5,a\n"))) == {"a": 0.5}


@pytest.mark.parametrize("value", ["nan", "inf", "", "high", "1e999"])
def test_scores_are_finite(listed, value):
    path = listed(f"a,1\nb,{value}\n")
    with pytest.raises(InputError, match="is no finite number") as caught:
        labels.scores(path)
    assert caught.value.where == f"{path}, line 2"


def test_a_misspelt_first_score_is_not_taken_for_a_header(listed):
    with pytest.raises(InputError, match=r"'O\.5' is no finite number"):
        labels.scores(listed("a,O.5\nb,1\n"))


def test_users_are_any_text(listed):
    assert values(labels.users(listed('name,user\ninfo?k=1,"Smith, Jo"\nb,7\n'))) == {"info?k=1": "Smith, Jo", "b": "7"}
    with pytest.raises(InputError, match="'x' here and 'y' in"):
        labels.users(listed("a,y\na,x\n"))


def entries(*names: str, value: int = 1) -> dict[str, Entry[int]]:
    return {name: Entry(name, value, f"list, line {i}") for i, name in enumerate(names, 1)}


@pytest.mark.parametrize("name", ["sub/a.b.png", "./sub/a.b.png", "sub/a.b", "a.b.png", "a.b"])
def test_a_key_is_a_relative_path_or_file_name_with_or_without_its_ending(name):
    found, unused = labels.match(entries(name), ["sub/a.b.png", "other.png"])
    assert list(found) == ["sub/a.b.png"]
    assert unused == []


def test_accented_letters_match_however_they_are_written():
    found, _ = labels.match(entries("e\u0301t\u00e9"), ["\u00e9te\u0301.png"])
    assert list(found) == ["\u00e9te\u0301.png"]


def test_the_most_exact_reading_of_a_key_wins():
    found, unused = labels.match(entries("a.png", "sub/a.png"), ["a.png", "sub/a.png"])
    assert {key: entry.name for key, entry in found.items()} == {"a.png": "a.png", "sub/a.png": "sub/a.png"}
    assert unused == []


def test_a_key_that_fits_two_pictures_is_refused():
    with pytest.raises(InputError, match=r"^list, line 1: 'a' fits x/a.png and y/a.jpg; write the path"):
        labels.match(entries("a"), ["x/a.png", "y/a.jpg"])


def test_one_picture_under_two_names_must_have_one_number():
    same = entries("a", "a.png")
    assert labels.match(same, ["a.png"])[0]["a.png"].value == 1
    other = same | {"a.png": Entry("a.png", 2, "list, line 2")}
    with pytest.raises(InputError, match=r"^list, line 2: 'a.png' has 2 here and 1 in list, line 1"):
        labels.match(other, ["a.png"])


def test_entries_without_a_picture_are_told():
    found, unused = labels.match(entries("a", "gone"), ["a.png", "b.png"])
    assert list(found) == ["a.png"]
    assert [entry.name for entry in unused] == ["gone"]


def test_the_split_has_the_share_asked_for_and_depends_on_the_key_alone():
    keys = [f"picture{i}.png" for i in range(4000)]
    held = [key for key in keys if labels.split_of(key, 0.2) == "validation"]
    # four standard deviations of a binomial
    assert abs(len(held) - 800) < 4 * (4000 * 0.2 * 0.8) ** 0.5
    assert set(held) < {key for key in keys if labels.split_of(key, 0.3) == "validation"}
    assert all(labels.split_of(key, 0.0) == "train" for key in keys)


def test_the_split_is_the_same_on_every_machine_and_day():
    assert [labels.split_of(f"picture{i}.png", 0.5)[0] for i in range(12)] == list("tvtvvtvtvvtt")
