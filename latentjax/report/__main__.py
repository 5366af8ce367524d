"""Figures from finished evaluations: python -m latentjax.report curves|strips|rebuild.

python -m latentjax.report curves OUT.png "z and y=runs/demo/evaluation/sampled-200" "z only=..."
python -m latentjax.report strips OUT.png runs/demo/evaluation/sampled-200
python -m latentjax.report rebuild runs/demo/evaluation/sampled-200
"""

import pathlib
import sys

from latentjax import command_line
from latentjax.report import evaluation
from latentjax.report.figures import draw_curves, draw_strips


def command(arguments: list[str]) -> None:
    """Parses the command line and draws."""
    parser = command_line.Parser(prog="python -m latentjax.report", description="Figures from finished evaluations.")
    kinds = parser.add_subparsers(dest="figure", required=True)
    lines = kinds.add_parser("curves", help="score and properties along alpha, one line an evaluation")
    lines.add_argument("out", help="the PNG to write")
    lines.add_argument("runs", nargs="+", metavar="LABEL=FOLDER", help="evaluation folders of the same latents")
    rows = kinds.add_parser("strips", help="strips at evenly spaced ranks of the achieved change")
    rows.add_argument("out", help="the PNG to write")
    rows.add_argument("folder", help="an evaluation folder")
    rows.add_argument("--count", type=int, default=5, help="how many strips (default 5)")
    page = kinds.add_parser("rebuild", help="curves, tables and page of an evaluation again, without making images")
    page.add_argument("folder", help="an evaluation folder")
    flags = parser.parse_args(arguments)
    if flags.figure == "rebuild":
        evaluation.rebuild(pathlib.Path(flags.folder))
        print(pathlib.Path(flags.folder) / "index.html")
        return
    if flags.figure == "curves":
        named = (run.rpartition("=") for run in flags.runs)
        draw_curves(flags.out, {label or pathlib.Path(folder).name: pathlib.Path(folder) for label, _, folder in named})
    else:
        draw_strips(flags.out, pathlib.Path(flags.folder), flags.count)
    print(flags.out)


if __name__ == "__main__":
    sys.exit(command_line.run(command))
