"""The files of a simulated crowd: its latents, the numbers of their ancestors, and how they compare with real ones."""

import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from latentjax import artbreeder, breeding, class_vectors, networks
from latentjax.breeding import Individual
from latentjax.config import ConfigDict
from latentjax.errors import InputError
from latentjax.files import staged, write_json, write_text

FOUNDERS, CHILDREN = 600, 40  # of a population and of each of its generations, at least
SETS = ("crowd", "unrelated", "heldout")  # of latents
BIGGAN = (128, 1000)  # Z and K of the latents that REAL is of
FILE_BYTES = artbreeder.MAX_BYTES // 2


def write(folder: pathlib.Path, config: ConfigDict, generator: networks.Generator) -> None:
    """Writes breeding/ whole or not at all.

        crowd/          the bred and the plain ones, Artbreeder's JSON; ancestors.csv: their numbers of ancestors
        unrelated/      bred, plain and fresh ones of another population, to judge the assessor by
        heldout/        likewise, to evaluate directions on
        classes.json    normals fitted on the crowd's class weights, see `class_vectors`
        statistics.json of the crowd, of the same process with 1,000 classes, and of real latents

    Raises:
        InputError: too few images come to have so many ancestors.
    """
    settings, counts = config.paper, {"bred": config.paper.bred, "plain": config.paper.plain}
    three = counts | {"fresh": settings.fresh}
    checked = max(len(three), round(config.data.validation * sum(three.values())))
    crowd, others = chosen(population(config, generator, 0), counts, config, "crowd"), population(config, generator, 1)
    with staged(folder, replace=True) as aside:
        write_latents(aside / "crowd", crowd)
        write_latents(aside / "unrelated", chosen(others, shared(three, checked), config, "unrelated"))
        heldout = shared(three, config.evaluate.count)
        write_latents(aside / "heldout", chosen(others, heldout, config, "heldout"))
        lines = [f"{one.name},{one.ancestors}\n" for found in crowd.values() for one in found]
        write_text(aside / "ancestors.csv", "key,ancestors\n" + "".join(lines))
        latents = artbreeder.read(aside / "crowd", generator.latent_dim, generator.num_classes)
        class_vectors.write(aside / "classes.json", latents)
        write_json(aside / "statistics.json", compared(config, crowd["bred"]))


def population(config: ConfigDict, generator: networks.Generator, number: int) -> list[Individual]:
    """A population for this generator; those of two numbers share no one."""
    sizes, seed = (generator.latent_dim, generator.num_classes), (config.paper.seed, number)
    individuals = breeding.simulate(*scale(config), *sizes, seed)
    return breeding.at_full_length(individuals, (*seed, 1)) if generator.kind == "dcgan" else individuals


def scale(config: ConfigDict) -> tuple[int, int, int]:
    """Founders, children of each generation, and generations: more than are asked for, to choose from."""
    settings = config.paper
    children = max(CHILDREN, -(-5 * settings.bred // (2 * settings.generations)))
    return max(FOUNDERS, settings.plain), children, settings.generations


def shared(parts: Mapping[str, int], total: int) -> dict[str, int]:
    """The total divided as the parts are, by largest remainder; at least one each where the total is enough for that.

    Args:
        parts: 1 or more each.
        total: the sum of what is returned.
    """
    whole = sum(parts.values())
    found = {name: total * count // whole for name, count in parts.items()}
    by_remainder = sorted(parts, key=lambda name: -(total * parts[name] % whole))
    for name in by_remainder[: total - sum(found.values())]:
        found[name] += 1
    if total >= len(parts):
        for name in [name for name, count in found.items() if not count]:
            found[max(found, key=lambda name: found[name])] -= 1
            found[name] = 1
    return found


def chosen(
    individuals: Sequence[Individual], counts: Mapping[str, int], config: ConfigDict, of: str
) -> dict[str, list[Individual]]:
    """So many bred and plain ones of a population, at random, and fresh ones; more of a group hold the fewer.

    Args:
        individuals: the population.
        counts: of the groups "bred", "plain" and "fresh", or some of them.
        config: of the run.
        of: one of `SETS`.

    Raises:
        InputError: there are not as many.
    """
    many, seed = config.data.many, config.paper.seed
    groups = {
        "bred": [one for one in individuals if one.ancestors > many],
        "plain": [one for one in individuals if not one.ancestors],
    }
    found = {}
    for place, (name, count) in enumerate(counts.items()):
        random = np.random.default_rng((seed, 2, SETS.index(of), place))
        if name == "fresh":
            found[name] = fresh(random, count, individuals[0], config.latents.truncation)
            continue
        if count > len(groups[name]):
            raise too_few(name, count, len(groups[name]), many, of)
        order = random.permutation(len(groups[name]))
        found[name] = [groups[name][i] for i in order[:count]]
    return found


def too_few(group: str, asked: int, there: int, many: int, of: str) -> InputError:
    """The error of a set that asks for more of a group than a population has; it names what sets the number."""
    field = {"unrelated": "config.data.validation", "heldout": "config.evaluate.count"}.get(of, f"config.paper.{group}")
    ancestors = f"more than {many} ancestors" if group == "bred" else "no ancestors"
    more = ", or more config.paper.generations" if group == "bred" else ""
    return InputError(
        field, f"asks for {asked} images with {ancestors}, and breeding gives {there}", f"give less{more}"
    )


def fresh(random: np.random.Generator, count: int, like: Individual, truncation: float) -> list[Individual]:
    """Freshly drawn latents of the size of another: z truncated normal times the truncation, y one-hot."""
    found = []
    for i in range(count):
        z, y = truncation * breeding.truncated_normal(random, len(like.z)), np.zeros(len(like.y))
        y[random.integers(len(y))] = 1
        found.append(Individual(f"fresh-{i:05d}", z, y, truncation, (), 0))
    return found


def write_latents(folder: pathlib.Path, groups: Mapping[str, Sequence[Individual]]) -> None:
    """Artbreeder's JSON, arrays in files that `artbreeder.read` takes; a new folder."""
    folder.mkdir()
    for name, individuals in groups.items():
        parts: list[list[str]] = []
        size = FILE_BYTES
        for one in individuals:
            text = json.dumps(entry(one))
            size += len(text)
            if size > FILE_BYTES:
                parts.append([])
                size = len(text)
            parts[-1].append(text)
        for number, part in enumerate(parts):
            write_text(folder / f"{name}-{number:03d}.json", "[" + ",\n".join(part) + "]\n")


def entry(one: Individual) -> dict[str, object]:
    """One object of Artbreeder's JSON, to six decimals."""
    classes = [[int(i), round(float(one.y[i]), 6)] for i in np.flatnonzero(one.y)]
    z = np.round(one.z, 6).tolist()
    return {"name": one.name, "latent": z, "classes": classes, "truncation": round(one.truncation, 6)}


def compared(config: ConfigDict, bred: Sequence[Individual]) -> dict[str, dict[str, tuple[float, ...]]]:
    """Title -> statistics: real latents, all children with 1,000 classes, the bred of them, and the crowd's."""
    many, (founders, *_) = config.data.many, scale(config)
    children = breeding.simulate(*scale(config), *BIGGAN, (config.paper.seed, 3))[founders:]
    offspring = [one for one in children if one.ancestors > many]
    return {
        "Artbreeder, 64 files": breeding.REAL,
        "simulated, 1,000 classes: all children": breeding.statistics(children),
        f"those with more than {many} ancestors": breeding.statistics(offspring),
        f"in this run, {len(bred[0].y)} classes, more than {many} ancestors": breeding.statistics(bred),
    }
