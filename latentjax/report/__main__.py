"""Figures from finished evaluations: python -m latentjax.report curves|compare|strips|rebuild|study|votes.

python -m latentjax.report curves OUT.png "z and y=runs/demo/evaluation/sampled-200" "z only=..."
python -m latentjax.report compare OUT_FOLDER "z and y=runs/demo/evaluation/sampled-200" "z only=..."
python -m latentjax.report strips OUT.png runs/demo/evaluation/sampled-200
python -m latentjax.report rebuild runs/demo/evaluation/sampled-200
python -m latentjax.report study OUT_FOLDER --pictures=FOLDER --against=FOLDER
python -m latentjax.report study OUT_FOLDER --evaluation=runs/demo/evaluation/sampled-200 --alpha=0.3
python -m latentjax.report votes OUT_FOLDER VOTES.csv MORE.csv
"""

import pathlib
import sys
from typing import Any

from latentjax import command_line
from latentjax.errors import InputError
from latentjax.files import staged
from latentjax.report import comparison, evaluation, study, votes
from latentjax.report.figures import draw_curves, draw_strips


def command(arguments: list[str]) -> None:
    """Parses the command line and draws."""
    parser = command_line.Parser(prog="python -m latentjax.report", description="Figures from finished evaluations.")
    kinds = parser.add_subparsers(dest="figure", required=True)
    lines = kinds.add_parser("curves", help="score and properties along alpha, one line an evaluation")
    lines.add_argument("out", help="the PNG to write")
    lines.add_argument("runs", nargs="+", metavar="LABEL=FOLDER", help="evaluation folders of the same latents")
    several = kinds.add_parser("compare", help="figures, tables and paired tests of evaluations of the same latents")
    several.add_argument("out", help="the folder to make")
    several.add_argument("runs", nargs="+", metavar="LABEL=FOLDER", help="evaluation folders, also of separate jobs")
    rows = kinds.add_parser("strips", help="strips at evenly spaced ranks of the achieved change")
    rows.add_argument("out", help="the PNG to write")
    rows.add_argument("folder", help="an evaluation folder")
    rows.add_argument("--count", type=int, default=5, help="how many strips (default 5)")
    page = kinds.add_parser("rebuild", help="curves, tables and page of an evaluation again, without making images")
    page.add_argument("folder", help="an evaluation folder")
    _add_study(kinds)
    flags = parser.parse_args(arguments)
    if flags.figure in ("study", "votes"):
        print(_study(flags) if flags.figure == "study" else _votes(flags))
        return
    if flags.figure == "rebuild":
        evaluation.rebuild(pathlib.Path(flags.folder))
        print(pathlib.Path(flags.folder) / "index.html")
        return
    if flags.figure == "compare":
        print(_compare(pathlib.Path(flags.out), _labelled(flags.runs)))
        return
    if flags.figure == "curves":
        draw_curves(flags.out, _labelled(flags.runs))
    else:
        draw_strips(flags.out, pathlib.Path(flags.folder), flags.count)
    print(flags.out)


def _labelled(runs: list[str]) -> dict[str, pathlib.Path]:
    """Label -> folder of "LABEL=FOLDER" or "FOLDER"."""
    found: dict[str, pathlib.Path] = {}
    for run in runs:
        label, _, folder = run.rpartition("=")
        label = label or pathlib.Path(folder).name
        if label in found:
            raise InputError("runs", f"have the label {label!r} twice", "give each its own: LABEL=FOLDER")
        found[label] = pathlib.Path(folder)
    return found


def _compare(out: pathlib.Path, runs: dict[str, pathlib.Path]) -> str:
    """Makes the folder of a comparison; its tables."""
    with staged(out) as folder:
        summary = evaluation.write_comparison(folder, runs, out.name)
    tables = [comparison.table(summary), comparison.differences_table(summary)]
    told = []
    for rows in tables:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        told.append("\n".join(lines))
    return "\n\n".join([*told, str(out / "index.html")])


def _add_study(kinds: Any) -> None:
    """The flags of study and votes."""
    asked = kinds.add_parser("study", help="a page on which people compare pictures two at a time")
    asked.add_argument("out", help="the folder to make")
    asked.add_argument("--pictures", metavar="FOLDER", help="pictures of one kind (many ancestors) ...")
    asked.add_argument("--against", metavar="FOLDER", help="... against random ones of another (plain generated)")
    asked.add_argument("--evaluation", metavar="FOLDER", help="or an evaluation: edited against original")
    asked.add_argument("--alpha", type=float, help="of the edited ones")
    asked.add_argument("--noise-seed", type=int, help="of the edited ones (default: the least)")
    asked.add_argument("--question", default=study.QUESTION, help=f"that voters answer (default {study.QUESTION!r})")
    asked.add_argument("--pairs", type=int, help=f"how many (default: all that there are, at most {study.MOST})")
    asked.add_argument("--repeats", type=int, default=5, help="pairs shown again, sides swapped (default 5)")
    asked.add_argument("--size", type=int, default=512, help="longest side of a picture in pixels (default 512)")
    asked.add_argument("--seed", type=int, default=0, help="of the choice of pictures and of their names (default 0)")
    counted = kinds.add_parser("votes", help="what the votes of a study say, with an interval over voters and pictures")
    counted.add_argument("folder", help="the study's folder")
    counted.add_argument("files", nargs="+", metavar="VOTES.csv", help="downloaded from its page")
    counted.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")


def _study(flags: Any) -> str:
    """Makes a study; what to do with it."""
    for field in ("seed", "noise_seed"):
        if (value := getattr(flags, field)) is not None and value < 0:
            raise InputError(f"--{field.replace('_', '-')}", f"is {value}", "give 0 or more")
    of_folders = {"--pictures": flags.pictures, "--against": flags.against}
    of_evaluation = {"--evaluation": flags.evaluation, "--alpha": flags.alpha}
    wanted, others = (of_folders, of_evaluation) if flags.evaluation is None else (of_evaluation, of_folders)
    if flags.evaluation is None:
        others = others | {"--noise-seed": flags.noise_seed}
    for flag, value in wanted.items():
        if value is None:
            todo = "give --pictures and --against, or --evaluation and --alpha"
            raise InputError(flag, "is missing", todo)
    for flag, value in others.items():
        if value is not None:
            raise InputError(flag, f"is of no use with {next(iter(wanted))}", "leave it out")
    if flags.evaluation is None:
        compared = study.of_folders(flags.pictures, flags.against, flags.pairs, flags.seed)
    else:
        folder = pathlib.Path(flags.evaluation)
        compared = study.of_evaluation(folder, flags.alpha, flags.noise_seed, flags.pairs, flags.seed)
    out = pathlib.Path(flags.out)
    settings = {"question": flags.question, "seed": flags.seed, "size": flags.size, "repeats": flags.repeats}
    study.write(out, compared, **settings)
    return f"{out / 'index.html'}\ngive voters index.html and pictures/; keep key.csv and study.json to yourself"


def _votes(flags: Any) -> str:
    """Analyses votes; the result in a few lines."""
    if flags.seed < 0:
        raise InputError("--seed", f"is {flags.seed}", "give 0 or more")
    folder = pathlib.Path(flags.folder)
    found = votes.report(folder, [pathlib.Path(file) for file in flags.files], seed=flags.seed)
    return f"{votes.table(found)}\n{folder / 'votes.json'}\n{folder / 'votes.png'}"


if __name__ == "__main__":
    sys.exit(command_line.run(command))
