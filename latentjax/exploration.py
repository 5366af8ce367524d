"""A map of latents: PCA, then t-SNE to the plane (paper, section 5.4), its clusters, and who is coloured."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latentjax.data import labels
from latentjax.errors import InputError
from latentjax.latents import Latent, stacked
from latentjax.packages import scikit_learn

COLOURED_CLASSES = 12  # the most frequent ones


class Map(NamedTuple):
    """Where each of N latents lies.

    Attributes:
        xy: [N, 2] in [-1, 1], with the centre of the map at 0.
        explained_variance: of each principal component, as a share of the whole.
        divergence: Kullback-Leibler, what t-SNE made small.
        clusters: [N] from 0, numbered down the left half of the map and then down the right one.
        centres: [K, 2] of the clusters.
    """

    xy: np.ndarray
    explained_variance: list[float]
    divergence: float
    clusters: np.ndarray
    centres: np.ndarray


def vectors(points: Sequence[Latent], of: str) -> np.ndarray:
    """What is mapped of N latents: [N, D] float64.

    Args:
        points: the latents.
        of: "z", "y", or "both": beside each other, each scaled to a variance of 1 in all.

    Raises:
        InputError: it is the same for all of them, or the generator has no classes.
    """
    z, y = (array.astype(np.float64) for array in stacked(points))
    chosen = {"z": [z], "y": [y], "both": [z, y]}[of]
    spreads = [np.sqrt(array.var(axis=0).sum()) for array in chosen]
    if not all(spread > 0 for spread in spreads):
        raise InputError("config.explore.of", f"is {of}, in which these latents do not differ", "map something else")
    return chosen[0] if of != "both" else np.concatenate([a / s for a, s in zip(chosen, spreads, strict=True)], axis=1)


def check_sizes(vectors: np.ndarray, perplexity: float, clusters: int) -> None:
    """Refuses what so many latents cannot have.

    Args:
        vectors: [N, D], see `vectors`.
        perplexity: of t-SNE.
        clusters: their number.

    Raises:
        InputError: naming the field.
    """
    count = len(np.unique(vectors, axis=0))
    if count < 3:
        raise InputError("config.explore", f"has {count} different latents, which make no map", "give 3 or more")
    if not perplexity < count:
        what = f"is {perplexity:g}, and there are {count} different latents"
        raise InputError("config.explore.perplexity", what, f"give a number well below {count}, such as {count / 4:g}")
    if clusters > count:
        what = f"is {clusters}, and there are {count} different latents"
        raise InputError("config.explore.clusters", what, f"give {count} or fewer")


def made(vectors: np.ndarray, components: int, perplexity: float, clusters: int, seed: int) -> Map:
    """PCA, t-SNE (van der Maaten and Hinton, 2008) of its components, and k-means in the plane.

    Args:
        vectors: [N, D], see `vectors`.
        components: of the PCA, or as many as there are.
        perplexity: of t-SNE, below N.
        clusters: K.
        seed: of t-SNE and k-means; on one machine the same seed gives the same map.

    Raises:
        InputError: scikit-learn is not installed.
    """
    decomposition, manifold, cluster = map(scikit_learn, ("decomposition", "manifold", "cluster"))
    count, size = vectors.shape
    pca = decomposition.PCA(min(components, count - 1, size), svd_solver="full")
    tsne = manifold.TSNE(2, perplexity=perplexity, init="random" if size < 2 else "pca", random_state=seed)
    xy = tsne.fit_transform(pca.fit_transform(vectors)).astype(np.float64)
    xy -= (xy.max(axis=0) + xy.min(axis=0)) / 2
    xy /= np.abs(xy).max() or 1.0
    found = cluster.KMeans(clusters, n_init=10, random_state=seed).fit(xy)
    order = reading_order(found.cluster_centers_)
    numbers = np.argsort(order)[found.labels_]
    shares = [float(share) for share in pca.explained_variance_ratio_]
    return Map(xy, shares, float(tsne.kl_divergence_), numbers, found.cluster_centers_[order])


def reading_order(centres: np.ndarray) -> np.ndarray:
    """Indices of K points: the left half from the top, then the right half from the top."""
    across = np.argsort(centres[:, 0], kind="stable")
    halves = np.split(across, [-(-len(across) // 2)])
    return np.concatenate([half[np.argsort(-centres[half, 1], kind="stable")] for half in halves])


def nearest(found: Map, cluster: int, count: int) -> list[int]:
    """Indices of a cluster's latents, those nearest to its centre first."""
    members = np.flatnonzero(found.clusters == cluster)
    distances = np.linalg.norm(found.xy[members] - found.centres[cluster], axis=1)
    return members[np.argsort(distances, kind="stable")][:count].tolist()


def users_of(table: str, points: Sequence[Latent]) -> tuple[list[str], int]:
    """Who made each latent ("" where the table does not tell), and how many lines of the table are of none.

    Raises:
        InputError: the table is wrong, or tells of none of them.
    """
    # a table may name latents with the ending of their files
    files = [f"{point.name}.json" for point in points]
    entries, unused = labels.match(labels.users(table), files)
    if not entries:
        raise InputError(table, "names none of the latents", 'write lines "name,user"')
    return [entries[file].value if file in entries else "" for file in files], len(unused)


def coloured_users(users: Sequence[str], span: tuple[int, int]) -> list[str]:
    """Users with so many latents, both ends included; who has most comes first."""
    counts = Counter(filter(None, users))
    return _most_first({user: count for user, count in counts.items() if span[0] <= count <= span[1]})


def classes_of(points: Sequence[Latent]) -> list[int | None]:
    """The class of largest weight of each latent; None without classes."""
    return [int(np.argmax(point.y)) if len(point.y) else None for point in points]


def coloured_classes(classes: Sequence[int | None]) -> list[int]:
    """The most frequent classes, in their order."""
    counts = Counter(label for label in classes if label is not None)
    return sorted(_most_first(counts)[:COLOURED_CLASSES])


def _most_first(counts: Mapping[Any, int]) -> list[Any]:
    return sorted(counts, key=lambda group: (-counts[group], group))
