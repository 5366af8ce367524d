"""--job=explore: a map that a seed decides, its colours and thumbnails, and directions that load as transformers."""

import csv
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

import latentjax
import launch
from latentjax import exploration, latents, pictures
from latentjax.errors import InputError
from latentjax.jobs import explore, imaging
from latentjax.latents import Latent
from latentjax.report import exploration as report
from tests import tiny_runs

pytest_plugins = ["tests.browser"]

SMALL = {
    "explore__count": 24,
    "explore__perplexity": 5.0,
    "explore__clusters": 3,
    "explore__directions": 2,
    "explore__name": "mine",
    "evaluate__arithmetic_count": 32,
}
GROUPS, MEMBERS = 3, 12


@pytest.fixture(scope="module")
def config(generator):
    """A config of a map of 24 sampled latents."""

    def config(**fields):
        return tiny_runs.config(generator, **SMALL | fields)

    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """An exploration with thumbnails and directions; not to be changed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    explore.run(config(), str(workdir))
    return workdir / "exploration" / "mine"


@pytest.fixture(scope="module")
def apart() -> list[Latent]:
    """Three groups of latents, far from each other."""
    random = np.random.default_rng(0)
    z = np.repeat(10 * np.eye(GROUPS, 8), MEMBERS, axis=0) + 0.1 * random.normal(size=(GROUPS * MEMBERS, 8))
    y = np.repeat(np.eye(GROUPS, 4), MEMBERS, axis=0)
    return [Latent(f"l{i}", np.float32(z[i]), np.float32(y[i]), {}) for i in range(len(z))]


def table(folder) -> list[dict[str, str]]:
    with open(folder / "map.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def save_latents(folder, points) -> str:
    folder.mkdir()
    for point in points:
        classes = [[i, float(weight)] for i, weight in enumerate(point.y) if weight]
        (folder / f"{point.name}.json").write_text(json.dumps({"latent": point.z.tolist(), "classes": classes}))
    return str(folder)


# ---- the map


def test_groups_that_lie_apart_do_so_on_the_map(apart):
    found = exploration.made(exploration.vectors(apart, "z"), 50, 5.0, GROUPS, seed=0)
    own = found.clusters.reshape(GROUPS, MEMBERS)
    assert (own == own[:, :1]).all()
    assert sorted(own[:, 0]) == [0, 1, 2]
    # groups span a plane: two components hold nearly all
    assert sum(found.explained_variance[:2]) > 0.98
    assert np.abs(found.xy).max() == 1
    for cluster in range(GROUPS):
        near = exploration.nearest(found, cluster, 5)
        assert set(found.clusters[near]) == {cluster}
        far = np.linalg.norm(found.xy - found.centres[cluster], axis=1)
        assert far[near[0]] == far.min()


def test_the_seed_decides_the_map():
    # without groups, k-means has many ways to part the map
    vectors = np.random.default_rng(0).normal(size=(120, 6))
    first, same, other = (exploration.made(vectors, 50, 5.0, 16, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.xy, same.xy)
    np.testing.assert_array_equal(first.clusters, same.clusters)
    assert first.explained_variance == other.explained_variance
    assert not np.array_equal(first.clusters, other.clusters)


def test_both_weighs_z_and_y_alike(apart):
    both = exploration.vectors(apart, "both")
    assert both.shape == (36, 12)
    np.testing.assert_allclose([part.var(axis=0).sum() for part in (both[:, :8], both[:, 8:])], 1)
    np.testing.assert_array_equal(exploration.vectors(apart, "y"), latents.stacked(apart)[1])


def test_clusters_are_numbered_down_the_left_half_then_down_the_right():
    centres = np.array([[0.9, -0.5], [-0.8, -0.9], [-0.7, 0.4], [0.5, 0.8], [-0.1, 0.1]])
    assert exploration.reading_order(centres).tolist() == [2, 4, 1, 3, 0]


# ---- its colours


def test_users_with_so_many_images_are_coloured_and_others_are_not():
    users = ["a"] * 4 + ["b"] * 3 + ["c"] * 5 + ["d"] * 6 + [""] * 5
    assert exploration.coloured_users(users, (4, 5)) == ["c", "a"]


def test_the_most_frequent_classes_are_coloured():
    labels = [label for label in range(20) for _ in range(1 + label % 14)]
    assert exploration.coloured_classes(labels) == [*range(4, 14), 18, 19]
    assert exploration.coloured_classes([None, None]) == []


@pytest.mark.parametrize("count", [3, 8, 9, 40])
def test_every_group_has_a_colour_of_its_own(count):
    assert len(set(report.colours(count))) == count


def test_real_latents_are_mapped_without_a_generator(apart, tmp_path):
    users = tmp_path / "users.csv"
    owners = ["u,1"] * 12 + ["<b>"] * 12 + ["few"] * 3
    rows = [f'{point.name}.json,"{owner}"\n' for point, owner in zip(apart, owners, strict=False)]
    users.write_text("name,user\n" + "".join(rows) + "l999,few\n")
    fields = {
        "generator__weights": "",
        "explore__latents": save_latents(tmp_path / "latents", apart),
        "explore__users": str(users),
        "explore__user_images": (5, 12),
    }
    explore.run(tiny_runs.config("", **SMALL | fields), str(tmp_path / "run"))
    folder = tmp_path / "run" / "exploration" / "mine"
    names = {"exploration.json", "index.html", "map.csv", "map.png", "summary.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert json.loads((folder / "summary.json").read_text())["users"] == {"known": 3, "coloured": 2, "images": 24}
    assert {row["name"]: row["user"] for row in table(folder)}["l0"] == "u,1"
    page = (folder / "index.html").read_text()
    assert "2 of 3 users have 5 to 12 images here and are coloured." in page
    assert "<b>" not in page


# ---- what is written


def test_the_folder_is_as_promised(finished, generator):
    names = {"exploration.json", "index.html", "map.csv", "map.png", "summary.json", "thumbnails", "directions"}
    assert {path.name for path in finished.iterdir()} == names
    rows = table(finished)
    assert [row["name"] for row in rows] == [f"seed4-{i:05d}" for i in range(24)]
    points = latents.sample_latents(24, 4, 6, 3)
    assert [int(row["class"]) for row in rows] == [int(point.y.argmax()) for point in points]
    summary = json.loads((finished / "summary.json").read_text())
    assert sum(cluster["latents"] for cluster in summary["clusters"]) == 24
    assert {row["cluster"] for row in rows} == {"1", "2", "3"}
    files = sorted((finished / "thumbnails").iterdir())
    assert len(files) == 24
    z, y = latents.stacked(points[:1])
    due = Image.fromarray(np.asarray(pictures.to_uint8(latentjax.load_generator(generator)(z, y)))[0])
    due = np.asarray(Image.open(io.BytesIO(pictures.encoded(due, "jpg"))), float)
    # another batch size may round a level differently, and the JPEG with it
    assert np.abs(np.asarray(Image.open(files[0])) - due).mean() < 1


def test_directions_load_as_transformers(finished):
    found = sorted(path.name for path in (finished / "directions").iterdir())
    assert found == ["pca-0", "pca-1", "sefa-0", "sefa-1", "svm"]
    z, y = latents.stacked(latents.sample_latents(2, 0, 6, 3))
    moved = [latentjax.load_transformer(finished / "directions" / name)(z, y, 0.5)[0] for name in found]
    assert len({np.asarray(each).tobytes() for each in moved}) == 5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"explore__directions": 1000}, r"config\.explore\.directions: is 1000, and pca finds 6"),
        ({"assessor__slope": 1e-30}, r"config\.evaluate\.method: svm finds the mean score of what it adds 0 above"),
    ],
)
def test_directions_that_cannot_be_made_are_told_before_anything_is_written(config, tmp_path, fields, said):
    with pytest.raises(InputError, match=said):
        explore.run(config(**fields), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_thumbnails_that_are_there_are_not_made_again(config, tmp_path, monkeypatch):
    fields = {"explore__directions": 0, "assessor__weights": "nowhere"}
    explore.run(config(**fields), str(tmp_path / "run"))
    folder = tmp_path / "run" / "exploration" / "mine"
    one = sorted((folder / "thumbnails").iterdir())[5]
    one.unlink()
    made, program = [], imaging.Imaging.images
    monkeypatch.setattr(imaging.Imaging, "images", lambda self, wanted: program(self, made.extend(w := [*wanted]) or w))
    before = (folder / "map.csv").read_text()
    explore.run(config(**fields), str(tmp_path / "run"))
    assert [picture.index for picture in made] == [5]
    assert one.exists()
    assert (folder / "map.csv").read_text() == before
    # the map itself is cheap: under another perplexity it is made anew in its place
    explore.run(config(explore__perplexity=7.0, **fields), str(tmp_path / "run"))
    assert len(made) == 1
    assert (folder / "map.csv").read_text() != before
    with pytest.raises(InputError, match=r"made with another latents; choose another --config.explore.name"):
        explore.run(config(explore__seed=5, **fields), str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["perplexity=24"], "config.explore.perplexity: is 24, and there are 24 different latents; give a number"),
        (["of=y", "perplexity=2", "clusters=4"], "config.explore.clusters: is 4, and there are 3 different latents"),
        (["clusters=25"], "config.explore.clusters: is 25; give 24 or fewer"),
        (["count=2"], "config.explore: has 2 different latents"),
        (["user_images=(5,)"], "config.explore.user_images: is (5,)"),
        (["user_images=(9,5)"], "config.explore.user_images: is (9, 5)"),
        (["name=.x"], "config.explore.name: is '.x'"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(config, refused, tmp_path, words, line):
    arguments = tiny_runs.arguments(config(explore__directions=0), tmp_path / "run", "explore")
    assert refused(launch.main, *arguments, *(f"--config.explore.{word}" for word in words)).startswith(line)


def test_latents_cannot_be_sampled_without_a_generator(config, refused, tmp_path):
    arguments = tiny_runs.arguments(config(generator__weights=""), tmp_path / "run", "explore")
    assert refused(launch.main, *arguments).startswith("config.generator.weights: is not set")


def test_a_table_of_users_that_names_no_latent_is_refused(config, refused, tmp_path):
    users = tmp_path / "users.csv"
    users.write_text("other,me\n")
    arguments = tiny_runs.arguments(
        config(explore__users=str(users), explore__directions=0), tmp_path / "run", "explore"
    )
    assert "names none of the latents" in refused(launch.main, *arguments)


def test_a_missing_scikit_learn_is_told_before_anything_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(InputError, match=r"scikit-learn: is not installed; pip install -r requirements-report.txt"):
        explore.run(tiny_runs.config("nowhere"), str(tmp_path / "run"))


# ---- the page


def test_pointing_at_a_dot_shows_its_picture_and_arrows_go_on(finished, open_page):
    page = open_page(finished / "index.html")
    rows = table(finished)
    box = page.locator("circle").nth(7).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    name = page.locator("#now strong").inner_text()
    assert name in {row["name"] for row in rows}
    assert name in page.locator("#near").get_attribute("src")
    assert page.locator("#now img").evaluate("image => image.naturalWidth") == 16
    page.locator("#plane").focus()
    for _ in range(2 * len(rows)):
        page.keyboard.press("ArrowLeft")
    left = page.locator("#now strong").inner_text()
    page.keyboard.press("ArrowRight")
    xs = {row["name"]: float(row["x"]) for row in rows}
    assert xs[left] < xs[page.locator("#now strong").inner_text()]


def test_a_colour_or_a_cluster_stands_out_when_it_is_pressed(finished, open_page):
    page, rows = open_page(finished / "index.html", color_scheme="dark"), table(finished)
    page.locator("[data-group]").first.click()
    assert page.locator("circle.lit").count() == sum(row["class"] == "0" for row in rows)
    page.locator("[data-light='2']").click()
    assert page.locator("circle.lit").count() == sum(row["cluster"] == "2" for row in rows)
    page.locator("[data-light='2']").click()
    assert page.locator("svg.dim").count() == 0


def test_the_wheel_zooms_and_zero_shows_all_again(finished, open_page):
    page = open_page(finished / "index.html")

    def view() -> list[float]:
        return [float(number) for number in page.locator("#plane").get_attribute("viewBox").split()]

    box = page.locator("#plane").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.wheel(0, -100)
    page.wait_for_function("document.getElementById('plane').viewBox.baseVal.width < 2")
    assert view()[2] == pytest.approx(2.12 * 0.8)
    page.locator("#plane").focus()
    page.keyboard.press("0")
    assert view() == pytest.approx([-1.06, -1.06, 2.12, 2.12])
