"""latentjax.report.study: which pictures are compared, and that nothing tells a voter which is which."""

import csv
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from latentjax import command_line, pictures
from latentjax.errors import InputError
from latentjax.report import study
from latentjax.report.__main__ import command
from latentjax.report.strips import row_of

ALPHAS = [-0.5, 0.0, float(np.float32(0.3))]


def flat(folder: pathlib.Path, level: int, count: int, start: int = 0) -> str:
    """A folder of grey pictures, each of its own level."""
    folder.mkdir(parents=True)
    for i in range(start, start + count):
        Image.new("RGB", (40, 30), (level + i,) * 3).save(folder / f"secret{i}.png")
    return str(folder)


def level_of(path: pathlib.Path) -> int:
    return round(float(np.asarray(Image.open(path)).mean()))


def key_of(folder: pathlib.Path) -> list[dict[str, str]]:
    with open(folder / "key.csv", newline="") as file:
        return list(csv.DictReader(file))


def evaluation(folder: pathlib.Path, latents: int = 4, side: int = 16, tile: int = 16) -> pathlib.Path:
    """An evaluation's folder; the tile of latent i, noise seed n and alpha a is of level 100 + 20 i + 10 n + 2 a."""
    for part in ("grids", "sprites"):
        (folder / part).mkdir(parents=True)
    records = []
    for i in range(latents):
        for noise in (0, 3):
            stem = f"latent{i}" + (f"-noise{noise}" if noise else "")
            levels = [100 + 20 * i + (10 if noise else 0) + 2 * a for a in range(len(ALPHAS))]
            tiles = np.stack([np.full((side, side, 3), level, np.uint8) for level in levels])
            strip = pictures.strip(tiles, ALPHAS, [0.25, 0.5, 0.75], title=f"latent{i}")
            pictures.save(strip, folder / "grids" / f"{stem}.png")
            pictures.save(row_of(tiles, tile), folder / "sprites" / f"{stem}.jpg", 88)
            files = {"file": f"{stem}.png", "sprite": f"{stem}.jpg"}
            records.append(files | {"name": f"latent{i}", "noise_seed": noise})
    (folder / "evaluation.json").write_text(
        json.dumps({"alphas": ALPHAS, "tile": tile, "strips": [each["file"] for each in records]})
    )
    (folder / "strips.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def sides(tmp_path) -> tuple[str, str]:
    return flat(tmp_path / "bred", 20, 12), flat(tmp_path / "plain", 180, 9)


def written(folder: pathlib.Path, compared: study.Study, **settings) -> list[dict[str, str]]:
    study.write(folder, compared, **settings)
    return key_of(folder)


def test_each_picture_is_in_one_pair_and_the_key_tells_which_it_is(tmp_path, sides):
    rows = written(tmp_path / "out", study.of_folders(*sides))
    assert len(rows) == 9
    for row in rows:
        for side, base in (("a", 20), ("b", 180)):
            number = int(pathlib.Path(row[f"{side}_source"]).stem.removeprefix("secret"))
            assert abs(level_of(tmp_path / "out" / "pictures" / row[side]) - base - number) <= 1
    for column in ("a", "b", "a_source", "b_source"):
        assert len({row[column] for row in rows}) == 9


def test_the_page_does_not_tell_which_picture_is_which(tmp_path):
    sides = flat(tmp_path / "bred", 20, 40), flat(tmp_path / "plain", 180, 40)
    rows = written(tmp_path / "out", study.of_folders(*sides))
    page = (tmp_path / "out" / "index.html").read_text()
    assert not any(word in page for word in ("secret", "bred", "plain", "key.csv"))
    pairs = json.loads(page.partition('id="told">')[2].partition("</script>")[0])["pairs"]
    first = sum(told["pictures"][0] == row["a"] for told, row in zip(pairs, rows, strict=True))
    lower = sum(row["a"] < row["b"] for row in rows)
    assert 8 <= first <= 32
    assert 8 <= lower <= 32


def test_pictures_keep_no_comment_and_no_size_beyond_the_limit(tmp_path):
    for name in ("bred", "plain"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (90, 60)).save(tmp_path / name / "x.jpg", comment=f"made by {name}".encode())
    (row,) = written(tmp_path / "out", study.of_folders(str(tmp_path / "bred"), str(tmp_path / "plain")), size=45)
    for side in ("a", "b"):
        path = tmp_path / "out" / "pictures" / row[side]
        assert Image.open(path).size == (45, 30)
        assert b"made by" not in path.read_bytes()


def test_the_seed_alone_decides_what_is_shown(tmp_path, sides):
    def made(name: str, seed: int) -> tuple[list[dict[str, str]], bytes]:
        rows = written(tmp_path / name, study.of_folders(*sides, 5, seed), seed=seed)
        return rows, (tmp_path / name / "index.html").read_bytes()

    first, same, other = made("first", 0), made("same", 0), made("other", 1)
    assert first == same
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_edited_tiles_stand_against_the_original_of_their_latent(tmp_path):
    rows = written(tmp_path / "out", study.of_evaluation(evaluation(tmp_path / "run"), 0.3))
    assert sorted(row["a_source"] for row in rows) == [f"latent{i} at alpha 0.3" for i in range(4)]
    for row in rows:
        level = 100 + 20 * int(row["a_source"][6])
        assert row["b_source"] == row["a_source"].replace("0.3", "0")
        found = [level_of(tmp_path / "out" / "pictures" / row[side]) for side in ("a", "b")]
        assert found == [pytest.approx(level + 4, abs=1), pytest.approx(level + 2, abs=1)]


def test_a_noise_seed_can_be_chosen(tmp_path):
    (row, *_) = written(tmp_path / "out", study.of_evaluation(evaluation(tmp_path / "run"), -0.5, noise_seed=3))
    level = 100 + 20 * int(row["a_source"][6]) + 10
    assert level_of(tmp_path / "out" / "pictures" / row["a"]) == pytest.approx(level, abs=1)


@pytest.mark.parametrize("side", [128, 200, 512])
def test_larger_tiles_come_from_the_strip_without_its_score_and_frame(tmp_path, side):
    run = evaluation(tmp_path / "run", latents=1, side=side, tile=32)
    (row,) = written(tmp_path / "out", study.of_evaluation(run, 0.3))
    for name, level in ((row["a"], 104), (row["b"], 102)):
        image = np.asarray(Image.open(tmp_path / "out" / "pictures" / name)).astype(int)
        assert image.shape[0] == image.shape[1] > 0.85 * side
        assert abs(image - level).max() <= 1


def refusal(call, *arguments, **settings) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments, **settings)
    return str(caught.value)


def test_what_cannot_be_compared_is_refused(tmp_path, sides):
    assert "there are pictures for 9" in refusal(study.of_folders, *sides, 10)
    assert "is the folder of --pictures" in refusal(study.of_folders, sides[0], sides[0])
    assert "is not there" in refusal(study.of_folders, sides[0], str(tmp_path / "nowhere"))
    run = evaluation(tmp_path / "run")
    assert "has no alpha 0.2; it has -0.5, 0, 0.3" in refusal(study.of_evaluation, run, 0.2)
    assert "the original itself" in refusal(study.of_evaluation, run, 0.0)
    assert "it has [0, 3]" in refusal(study.of_evaluation, run, 0.3, noise_seed=1)
    assert "is no finished evaluation" in refusal(study.of_evaluation, tmp_path, 0.3)


def test_a_damaged_picture_leaves_nothing_behind(tmp_path, sides):
    for path in pathlib.Path(sides[1]).iterdir():
        path.write_bytes(path.read_bytes()[:60])
    assert "mend or remove it" in refusal(study.write, tmp_path / "out", study.of_folders(*sides))
    assert {path.name for path in tmp_path.iterdir()} == {"bred", "plain"}


def test_a_taken_folder_is_refused(tmp_path, sides):
    assert "is there already" in refusal(study.write, tmp_path / "bred", study.of_folders(*sides))


def test_the_command_makes_a_study(tmp_path, sides, capsys):
    command(["study", str(tmp_path / "out"), f"--pictures={sides[0]}", f"--against={sides[1]}", "--question=A < B?"])
    assert capsys.readouterr().out.startswith(str(tmp_path / "out" / "index.html"))
    assert "<h1>A &lt; B?</h1>" in (tmp_path / "out" / "index.html").read_text()
    facts = json.loads((tmp_path / "out" / "study.json").read_text())
    assert (facts["question"], facts["a"], facts["pairs"], facts["repeats"]) == ("A < B?", sides[0], 9, 5)


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ([], "--pictures"),
        (["--pictures=A"], "--against"),
        (["--evaluation=A"], "--alpha"),
        (["--evaluation=A", "--alpha=0.3", "--against=B"], "--against"),
        (["--pictures=A", "--against=B", "--noise-seed=0"], "--noise-seed"),
        (["--pictures=A", "--against=B", "--seed=-1"], "--seed"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, refused, flags, where):
    assert refused(lambda: command_line.run(command), "study", tmp_path / "out", *flags).startswith(f"{where}: ")
