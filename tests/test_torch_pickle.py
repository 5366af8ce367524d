import collections
import io
import pickle
import random

import numpy as np
import pytest

from converters.torch_names import Stub
from converters.torch_pickle import Unpickler
from latentjax.errors import InputError


class Named(collections.namedtuple("Named", "a b")):
    """Pickled by its class and its arguments."""


class Listed(list):
    """Pickled by its class, its items and its attributes."""


class Keyword:
    def __getnewargs_ex__(self):
        return (1,), {"b": 2}


def load(data):
    return Unpickler(io.BytesIO(data), lambda key, dtype, count: np.zeros(16, np.uint8), 0).load()


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_read_as_it_was_written(protocol):
    value = {
        "numbers": [1, -2, 2**70, 1.5, True, None],
        ("a", 1): (("b",), ()),
        "strings": ["é", "", b"\x00\xff"] if protocol > 2 else ["é", ""],
        "set": {1, 2},
        "ordered": collections.OrderedDict([("b", 1), ("a", 2)]),
    }
    if protocol > 3:
        value["frozen"] = frozenset("ab")
    assert load(pickle.dumps(value, protocol=protocol)) == value
    assert type(load(pickle.dumps(value["ordered"], protocol=protocol))) is collections.OrderedDict


@pytest.mark.parametrize("protocol", [2, 4])
def test_classes_become_stubs_with_their_arguments_contents_and_state(protocol):
    listed = Listed([1, 2])
    listed.name = "x"
    counter = collections.defaultdict(list, {"k": [3]})
    named, items, default, keyword = load(pickle.dumps([Named(1, "b"), listed, counter, Keyword()], protocol))
    assert named.cls.endswith("test_torch_pickle.Named")
    assert named.args == (1, "b")
    assert items.contents == [1, 2]
    assert items.state == {"name": "x"}
    assert default.cls == "collections.defaultdict"
    assert default.contents == [("k", [3])]
    assert keyword.cls.endswith("partial" if protocol == 2 else "Keyword")
    assert repr(named) == f"Stub({named.cls})"


def test_stubs_can_be_keys_and_targets_of_every_container_opcode():
    stub = b"cos\nsystem\n"
    assert next(iter(load(b"\x80\x02}" + stub + b"K\x01s."))).cls == "os.system"
    assert load(b"\x80\x02" + stub + b"K\x01a.").contents == [1]
    assert load(b"\x80\x02" + stub + b"(K\x01K\x02e.").contents == [1, 2]
    assert load(b"\x80\x02" + stub + b"(K\x01K\x02u.").contents == [(1, 2)]
    assert load(b"\x80\x04" + stub + b"(K\x01K\x02\x90.").contents == [1, 2]
    assert load(b"\x80\x02" + stub + b"X\x02\x00\x00\x00lsb.").state == "ls"


def test_tables_cover_size_device_and_dtype():
    assert load(b"\x80\x02ctorch\nSize\nK\x02K\x03\x86\x85R.") == (2, 3)
    assert load(b"\x80\x02ctorch\ndevice\nX\x04\x00\x00\x00cudaK\x01\x86R.") == "cuda:1"
    assert load(b"\x80\x02ctorch\nfloat32\n.").cls == "torch.float32"
    assert load(b"\x80\x02c__builtin__\nset\n](K\x01K\x02e\x85R.") == {1, 2}


@pytest.mark.parametrize(
    "program",
    [
        b"(S'touch x'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch x'\no.",  # OBJ
        b"\x82\x01.",  # EXT1
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".",  # BYTEARRAY8
        b"K\x01)R.",  # a call of a number
        b"cos\nsystem\nK\x01R.",  # a call with no tuple
        b"]K\x01b.",  # the state of a list
        b"]K\x00K\x01s.",  # an item of a list
        b"}K\x01a.",  # an append to a dict
        b"}]K\x01s.",  # a list as a key
        b"}(K\x01u.",  # a key without a value
        b"}" + b"(" + b"K\x01" * 17 + b"tK\x01s.",  # a wide key
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"X\x01\x00\x00\x00aQ.",  # a persistent id that is no storage
        b"P0\n.",
        b"h\x05.",  # an unset memo
        b".",
        b"",
    ],
)
def test_hostile_and_broken_programs_raise(program):
    with pytest.raises(Exception):  # noqa: B017, PT011 (torch_file.read wraps whatever it is)
        load(program)


def test_repeating_one_long_value_does_not_multiply_memory():
    text = b"X" + (2000).to_bytes(4, "little") + b"a" * 2000 + b"q\x000"
    with pytest.raises(InputError, match="impossible name"):
        load(b"\x80\x04" + text + b"h\x00h\x00\x93.")
    with pytest.raises(InputError, match="impossible name"):
        load(b"\x80\x04\x8c\x02a\n\x8c\x01b\x93.")
    assert len(load(b"\x80\x02" + text + b"ctorch\ndevice\nh\x00\x85R.")) <= 20
    items = b"](" + b"K\x01" * 9 + b"eq\x000"
    first, second = load(b"\x80\x02" + items + b"c__builtin__\nset\nh\x00\x85Rc__builtin__\nset\nh\x00\x85R\x86.")
    assert (first, second) == ({1}, set())


@pytest.mark.parametrize("link", [b"\x85R", b"b", b"a"], ids=["args", "state", "contents"])
def test_deeply_nested_stubs_can_be_made_and_freed(link):
    depth = 100_000
    head, tail = (b"ca\nb\n" * (depth + 1), link * depth)
    assert isinstance(load(b"\x80\x02" + head + tail + b"."), Stub)


def test_mutated_programs_end_in_an_exception_or_a_value():
    value = {"w": [1, 2.5, "x"], "c": collections.OrderedDict(a=Named(1, (2, {3}))), "s": Listed("ab")}
    generator, data = random.Random(0), pickle.dumps(value, protocol=2)
    outcomes = collections.Counter()
    for _ in range(2000):
        mutant = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            mutant[generator.randrange(len(data))] = generator.randrange(256)
        try:
            load(bytes(mutant))
        except Exception as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["read"] += 1
    assert outcomes["read"] > 20
    assert len(outcomes) > 4
