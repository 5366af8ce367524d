"""The simulated crowd: who descends from whom, and how its latents compare with real ones."""

import numpy as np
import pytest

from latentjax import artbreeder, breeding
from latentjax.errors import InputError

SIZES = (30, 10, 12, 20, 50)  # founders, children, generations, Z, K


@pytest.fixture(scope="module")
def population():
    return breeding.simulate(*SIZES, seed=3)


@pytest.fixture(scope="module")
def thousand():
    """With 1,000 classes, as large as a run's."""
    return breeding.simulate(600, 40, 60, 128, 1000, seed=0)


def test_the_seed_decides_everything(population):
    again, other = breeding.simulate(*SIZES, seed=3), breeding.simulate(*SIZES, seed=4)
    for one, same in zip(population, again, strict=True):
        assert np.array_equal(one.z, same.z)
        assert np.array_equal(one.y, same.y)
        assert one[3:] == same[3:]
    assert any(one.parents != another.parents for one, another in zip(population, other, strict=True))


def test_founders_are_plain(population):
    for i, one in enumerate(population[:30]):
        assert one.name == f"plain-{i:05d}"
        assert (one.parents, one.ancestors) == ((), 0)
        assert sorted(one.y)[-2:] == [0, 1]
        assert 0.05 <= one.truncation <= 1
        assert abs(one.z).max() <= 2 * one.truncation


def test_ancestors_are_counted_once_each(population):
    families: list[set[int]] = []
    for one in population:
        families.append(set(one.parents).union(*(families[parent] for parent in one.parents)))
        assert one.ancestors == len(families[-1])
    assert max(map(len, families)) > 40


def test_parents_are_born_before_their_children(population):
    for i, one in enumerate(population[30:], 30):
        generation = 30 + (i - 30) // 10 * 10
        assert one.parents
        assert all(parent < generation for parent in one.parents)


def test_without_mutations_an_edit_keeps_its_parents_z():
    habits = breeding.HABITS._replace(mixed=0.0, mutation=0.0)
    for one in (family := breeding.simulate(5, 5, 2, 8, 40, 0, habits))[5:]:
        (parent,) = one.parents
        assert np.array_equal(one.z, family[parent].z)
        assert (one.y != family[parent].y).any()


def test_class_vectors_neither_vanish_nor_explode_over_the_generations(thousand):
    late = [np.linalg.norm(one.y) for one in thousand[-400:]]
    early = [np.linalg.norm(one.y) for one in thousand[1000:1400]]
    assert 0.3 < np.median(late) / np.median(early) < 3


@pytest.mark.parametrize("name", breeding.REAL)
def test_with_a_thousand_classes_children_resemble_real_latents(thousand, name):
    middle = breeding.statistics([one for one in thousand if one.ancestors])[name][2]
    _, real_low, real_middle, real_high, _ = breeding.REAL[name]
    assert real_low < middle < real_high  # the middle half
    limit = 2.2 if name == "weights above .01" else 1.5  # real ones have more of them
    assert 1 / limit < middle / real_middle < limit


def test_enough_of_a_population_have_a_hundred_ancestors(thousand):
    assert sum(one.ancestors > 100 for one in thousand) > 1200


def test_the_real_figures_are_those_of_the_real_files(reference):
    found = breeding.statistics(artbreeder.read(reference / "artbreeder" / "latents", 128, 1000))
    assert list(found) == list(breeding.REAL)
    for name, quantiles in found.items():
        assert quantiles == pytest.approx(breeding.REAL[name], abs=1e-3, rel=1e-3), name


def test_at_full_length_only_the_length_differs(population):
    long = breeding.at_full_length(population, 0)
    lengths = np.array([np.linalg.norm(one.z) for one in long]) / np.sqrt(20)
    assert lengths.mean() == pytest.approx(0.88, abs=0.02)  # the deviation of the normal truncated to [-2, 2]
    assert 0.05 < lengths.std() < 0.2
    for one, before in zip(long, population, strict=True):
        cosine = one.z @ before.z / np.linalg.norm(one.z) / np.linalg.norm(before.z)
        assert cosine == pytest.approx(1)
        assert one.y is before.y
        assert one.truncation == 1


def test_a_table_has_five_quantiles_a_cell(population):
    head, rows = breeding.table({"real": breeding.REAL, "ours": breeding.statistics(population)})
    assert head[1:] == ["real", "ours"]
    assert [row[0] for row in rows] == list(breeding.REAL)
    assert all(len(cell.split()) == 5 for row in rows for cell in row[1:])
    assert rows[2][1] == "2.00  18.00  336  453  598"


def test_a_generator_without_classes_is_refused():
    with pytest.raises(InputError, match="has no classes"):
        breeding.simulate(5, 5, 2, 8, 0, 0)
