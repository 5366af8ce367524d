"""A crowd that breeds images, simulated: what stands for Artbreeder's data, which cannot be had.

Images have parents. Founders are plain latents; every generation mixes the z and y of parents by sliders that may
leave 0 to 1, or edits single class weights, and lets z mutate. Nobody's taste is in it: parents are drawn at random,
recent ones more often. What it shares with the crowd's images is their history, and by `Habits` their statistics.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from latentjax.artbreeder import Latent
from latentjax.errors import InputError

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# of 64 of the 625 latents in catlab-team/latentcreative, crawled from Artbreeder: real images of any ancestry
REAL = {
    "truncation t": (0.158, 0.482, 0.686, 0.859, 0.970),
    "std of z / t": (0.456, 0.583, 0.732, 1.001, 1.676),
    "classes listed": (2.0, 18.0, 335.5, 453.25, 598.25),
    "weights above .01": (2.0, 13.5, 113.5, 155.5, 189.95),
    "negative share": (0.0, 0.073, 0.179, 0.263, 0.342),
    "sum of weights": (0.900, 1.747, 2.899, 4.126, 5.934),
    "largest |weight|": (0.155, 0.263, 0.361, 0.653, 1.500),
    "length of y": (0.419, 0.543, 0.825, 1.137, 2.530),
}
LOWEST, HIGHEST = 0.05, 1.0  # truncations, as crawled


class Habits(NamedTuple):
    """How the crowd breeds; chosen by search so that with 1,000 classes `statistics` come near `REAL`."""

    truncation: tuple[float, float] = (1.7, 0.8)  # founders': a Beta between LOWEST and HIGHEST
    truncation_change: float = 0.2  # standard deviation of a child's from its parents' mean
    founders: float = 0.15  # share of parents that are founders, whatever the generation
    recency: float = 0.7  # generations: mean age of the other parents
    mixed: float = 0.44  # share of children with several parents; the others are edits of one
    more_parents: float = 0.9  # mean number of parents beyond two
    z_sliders: tuple[float, float] = (0.8, 0.2)  # mean sum of the parents' weights, and its standard deviation
    y_sliders: tuple[float, float] = (1.12, 0.1)  # likewise
    genes: float = 3.0  # classes that an edit changes, on average
    gene: tuple[float, float] = (0.13, 0.2)  # centre and scale of a change: Student's t with 3 degrees of freedom
    mutation: float = 0.43  # of z, times t
    smallest: float = 3e-4  # weights below are dropped


HABITS = Habits()


class Individual(NamedTuple):
    """One image of the population.

    Attributes:
        name: "plain-00012" of a founder, "bred-00815" of a child; the number is its index in the population.
        z: [Z] float64, scaled by the truncation.
        y: [K] float64 class weights.
        truncation: t.
        parents: indices of its distinct parents.
        ancestors: how many individuals it descends from.
    """

    name: str
    z: np.ndarray
    y: np.ndarray
    truncation: float
    parents: tuple[int, ...]
    ancestors: int


def simulate(
    founders: int,
    children: int,
    generations: int,
    latent_dim: int,
    num_classes: int,
    seed: int | Sequence[int],
    habits: Habits = HABITS,
) -> list[Individual]:
    """Breeds a population; the same for the same arguments.

    Args:
        founders: individuals without ancestors.
        children: of each generation.
        generations: of breeding.
        latent_dim: Z.
        num_classes: K, at least 1.
        seed: of all draws.
        habits: how it is done.

    Returns:
        The founders, then the children in the order of their birth.

    Raises:
        InputError: a generator without classes: there would be nothing to mix.
    """
    if num_classes < 1:
        raise InputError("config.generator.weights", "has no classes, which breeding mixes", "give another generator")
    random = np.random.default_rng(seed)
    population = [_founder(random, i, latent_dim, num_classes, habits) for i in range(founders)]
    families = [0] * founders  # bit i: descends from individual i
    for _ in range(generations):
        born = len(population) - founders
        for _ in range(children):
            parents = _parents(random, founders, born, children, habits)
            distinct = tuple(dict.fromkeys(parents))
            family = 0
            for parent in distinct:
                family |= families[parent] | 1 << parent
            z, y, truncation = _child(random, [population[parent] for parent in parents], habits)
            name = f"bred-{len(population):05d}"
            population.append(Individual(name, z, y, truncation, distinct, family.bit_count()))
            families.append(family)
    return population


def _founder(random: np.random.Generator, index: int, latent_dim: int, num_classes: int, habits: Habits) -> Individual:
    truncation = LOWEST + (HIGHEST - LOWEST) * float(random.beta(*habits.truncation))
    z, y = truncation * truncated_normal(random, latent_dim), np.zeros(num_classes)
    y[random.integers(num_classes)] = 1
    return Individual(f"plain-{index:05d}", z, y, truncation, (), 0)


def _parents(random: np.random.Generator, founders: int, born: int, children: int, habits: Habits) -> list[int]:
    """Indices of a child's parents; with luck the same one twice."""
    count = 2 + int(random.poisson(habits.more_parents)) if random.random() < habits.mixed else 1
    parents = []
    for _ in range(count):
        age = int(random.exponential(habits.recency * children))
        if born == 0 or random.random() < habits.founders:
            parents.append(int(random.integers(founders)))
        else:
            parents.append(founders + born - 1 - min(age, born - 1))
    return parents


def _child(
    random: np.random.Generator, parents: list[Individual], habits: Habits
) -> tuple[np.ndarray, np.ndarray, float]:
    """z, y and truncation."""
    (latent_dim,), (num_classes,), mean = parents[0].z.shape, parents[0].y.shape, parents[0].truncation
    if len(parents) > 1:
        z = _mixed(random, [parent.z for parent in parents], *habits.z_sliders)
        y = _mixed(random, [parent.y for parent in parents], *habits.y_sliders)
        mean = float(np.mean([parent.truncation for parent in parents]))
    else:
        z, y = parents[0].z.copy(), parents[0].y.copy()
        genes, (centre, scale) = int(random.geometric(1 / habits.genes)), habits.gene
        changes = centre + scale * random.standard_t(3, genes)
        np.add.at(y, random.integers(num_classes, size=genes), changes)
    truncation = 0.0
    while not LOWEST <= truncation <= HIGHEST:
        truncation = float(random.normal(mean, habits.truncation_change))
    z = z + habits.mutation * truncation * truncated_normal(random, latent_dim)
    y[abs(y) < habits.smallest] = 0
    if not y.any():  # an image is of something
        y = parents[0].y.copy()
    return z, y, truncation


def _mixed(random: np.random.Generator, rows: list[np.ndarray], total: float, spread: float) -> np.ndarray:
    """The rows, each times a normal weight; the weights' sum has this mean and standard deviation."""
    weights = random.normal(total / len(rows), spread / np.sqrt(len(rows)), len(rows))
    # not @: BLAS sums in an order that depends on its number of threads
    return np.sum(weights[:, None] * np.stack(rows), axis=0)


def truncated_normal(random: np.random.Generator, count: int) -> np.ndarray:
    """Draws [count] from the normal truncated to [-2, 2]."""
    values = random.standard_normal(count)
    while (beyond := abs(values) > 2).any():
        values[beyond] = random.standard_normal(int(beyond.sum()))
    return values


def at_full_length(population: Sequence[Individual], seed: int | Sequence[int]) -> list[Individual]:
    """Every z as long as a draw that is not scaled, with truncation 1: for generators that know no other length.

    A DCGAN learned from draws of one length. It makes grey fog of shorter ones, bred or not, in place of the typical
    images that truncation gives in a BigGAN.
    """
    random, found = np.random.default_rng(seed), []
    for one in population:
        length = np.linalg.norm(truncated_normal(random, len(one.z)))
        found.append(one._replace(z=one.z * (length / np.linalg.norm(one.z)), truncation=1.0))
    return found


def measures(latents: Sequence[Individual | Latent]) -> dict[str, np.ndarray]:
    """What is compared with `REAL`, one number a latent: [N] for each name."""
    z, y = (np.stack([getattr(latent, name) for latent in latents]).astype(np.float64) for name in ("z", "y"))
    truncation = np.array([1.0 if latent.truncation is None else latent.truncation for latent in latents])
    listed = np.maximum((y != 0).sum(axis=1), 1)
    return {
        "truncation t": truncation,
        "std of z / t": z.std(axis=1) / truncation,
        "classes listed": (y != 0).sum(axis=1).astype(np.float64),
        "weights above .01": (abs(y) > 0.01).sum(axis=1).astype(np.float64),
        "negative share": (y < 0).sum(axis=1) / listed,
        "sum of weights": y.sum(axis=1),
        "largest |weight|": abs(y).max(axis=1),
        "length of y": np.linalg.norm(y, axis=1),
    }


def statistics(latents: Sequence[Individual | Latent]) -> dict[str, tuple[float, ...]]:
    """The quantiles 5, 25, 50, 75 and 95 % of each of `measures`."""
    return {name: tuple(np.quantile(values, QUANTILES).tolist()) for name, values in measures(latents).items()}


def table(columns: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[list[str], list[list[str]]]:
    """Statistics side by side: the head and the rows of a table, each cell with five quantiles.

    Args:
        columns: title -> what `statistics` gives, or `REAL`.
    """
    head = ["quantiles 5, 25, 50, 75, 95 %", *columns]
    return head, [[name, *(_cell(column[name]) for column in columns.values())] for name in REAL]


def _cell(quantiles: Sequence[float]) -> str:
    return "  ".join(f"{value:.0f}" if abs(value) >= 20 else f"{value:.2f}" for value in quantiles)
