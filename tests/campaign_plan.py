"""What is done to which run of the campaign: decided by its seed and number."""

import itertools
import random
from typing import NamedTuple

from tests.campaign_points import POINTS

# many short saves: a moment in training is mostly one within a save
FORMS = (
    {"train__num_steps": 150, "train__checkpoint_every": 5, "train__log_every": 1},
    {"train__num_steps": 60, "train__checkpoint_every": 1, "train__log_every": 1},
    {"train__num_steps": 160, "train__checkpoint_every": 4, "train__log_every": 3, "checkpoints__keep": 1},
)
WEIGHTS = {"kill": 66, "point": 13, "SIGTERM": 6, "SIGINT": 5, "full disk": 5, "short files": 4, "newest": 4, "all": 2}


class Action(NamedTuple):
    """What is done to one start of the run."""

    kind: str
    moment: float  # in [0, 1)
    early: bool  # at any moment since the start, not one after saves began
    seed: int  # of what else is to be chosen
    where: str  # the named point, or none


class Plan(NamedTuple):
    """What is done to a run."""

    form: int
    actions: tuple[Action, ...]


def plan(seed: int, number: int) -> Plan:
    """The same for the same seed and number."""
    draw = random.Random(f"{seed} {number}")
    kinds = draw.choices(list(WEIGHTS), list(WEIGHTS.values()), k=draw.randint(6, 10))
    kinds.sort(key="newest".__eq__)  # after that the run goes on to its end
    points = itertools.islice(itertools.cycle(POINTS), 5 * number % len(POINTS), None)  # all of them in turn
    signals = [name for name in POINTS if name != "half deleted"]  # which is not what a run does

    def where(kind: str) -> str:
        chosen = kind.startswith("SIG") and draw.random() < 0.4
        return next(points) if kind == "point" else draw.choice(signals) if chosen else ""

    actions = [
        Action(kind, draw.random(), draw.random() < 0.12, draw.randrange(1 << 30), where(kind)) for kind in kinds
    ]
    return Plan(draw.randrange(len(FORMS)), tuple(actions))
