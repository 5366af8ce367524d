"""One run of the campaign: interrupted some times in ways that its number decides, gone on with, compared."""

import collections
import contextlib
import pathlib
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable

from tests import campaign_checks as checks
from tests import campaign_child, tiny_runs
from tests.campaign_child import Child, Ended
from tests.campaign_harm import damage, ruin, small_disk
from tests.campaign_plan import FORMS, Action, Plan
from tests.campaign_points import POINTS, SENT

LAUNCHER = (sys.executable, "launch.py")
STOP_SECONDS = 30.0  # ten, and the step or compilation under way on a busy machine


class Run:
    """A run folder and what has been done to it.

    Args:
        folder: of its own; holds the run folder and what each start told.
        generator: of `tiny_runs`.
        form: of FORMS.
        launcher: the command before its arguments.
    """

    def __init__(self, folder: pathlib.Path, generator: str, form: int, launcher: tuple[str, ...] = LAUNCHER):
        self.folder, self.workdir = folder, folder / "run" / "workdir"
        self.checkpoints = self.workdir / "checkpoints"
        self.last, self.every = FORMS[form]["train__num_steps"], FORMS[form]["train__checkpoint_every"]
        self.arguments = tiny_runs.arguments(tiny_runs.config(generator, **FORMS[form]), self.workdir)
        self.launcher = launcher
        self.counts: collections.Counter[str] = collections.Counter()
        self.longest = {"SIGTERM": 0.0, "SIGINT": 0.0}
        self.starts, self.saved, self.best_stays = 0, 0, True
        self.workdir.parent.mkdir(parents=True)

    def start(self, launcher: tuple[str, ...] | None = None) -> Child:
        """The same command again."""
        return Child([*(launcher or self.launcher), *self.arguments], self.checkpoints)

    def over(self, child: Child, codes: tuple[int, ...], *, saved: tuple[int, ...] = (), up: bool = True) -> Ended:
        """Waits for a start's end and checks what always holds.

        Args:
            child: the start.
            codes: it may end with.
            saved: the steps that it may go on from; default: the newest.
            up: False: Python itself, in its own start, may have told of a Ctrl-C by a traceback.

        Raises:
            WrongError: something does not.
        """
        ended = child.end()
        self.starts += 1
        (self.folder / f"{self.starts}.log").write_text(ended.told)
        checks.check_end(ended if up else ended._replace(told=""), codes)
        checks.check_resumed(ended, *saved or (self.saved,))
        first = checks.resumed(ended)
        if self.starts > 1 and first is not None:
            self.counts["resumes"] += 1
            self.counts["resumes from a step"] += first > 0
        self.saved = checks.check_kept(self.checkpoints, self.saved)
        return ended

    def wait(self, child: Child, action: Action) -> None:
        """Until the action's moment."""
        if action.early:
            child.wait(lambda: child.seconds() > 4 * action.moment)
            return
        child.wait(child.saves)
        begin = time.monotonic()
        child.wait(lambda: time.monotonic() > begin + 0.8 * action.moment)

    def exported(self) -> bool:
        """Whether a start had nothing left to do."""
        return self.last in campaign_child.steps(self.checkpoints) and (self.workdir / "transformer").exists()

    # ---- what is done to a start; True: it has finished the run all the same

    def act(self, action: Action) -> bool:
        """Starts the command and does what the action says.

        Raises:
            WrongError: it is not borne as it must be.
        """
        if action.kind in ("SIGTERM", "SIGINT"):
            return self.stop_at_point(action) if action.where else self.stop(action)
        name = action.kind.replace(" ", "_")
        return getattr(self, name)(action)

    def kill(self, action: Action) -> bool:
        """kill -9 at a random moment."""
        child = self.start()
        self.wait(child, action)
        child.send(signal.SIGKILL)
        ended = self.over(child, (0, -signal.SIGKILL))
        if ended.code:
            self.counts["kills"] += 1
            self.counts["kills in a save"] += ended.in_save
        return ended.code == 0

    def export_early(self) -> None:
        """Goes on for one save only, so that the run's own export has another to replace."""
        last = self.saved // self.every * self.every + self.every
        if last < self.last:
            self.over(
                Child([*self.launcher, *self.arguments, f"--config.train.num_steps={last}"], self.checkpoints), (0,)
            )

    def at_point(self, action: Action, number: int, seconds: float) -> Child:
        """A start that sends itself a signal at the action's point, or so many seconds later."""
        name = action.where
        if name == "between renames":
            self.export_early()
        count = random.Random(action.seed).randint(1, POINTS[name].counts)
        words = (name, str(count), str(int(number)), str(seconds))
        return self.start((sys.executable, "-m", "tests.campaign_points", *words))

    def point(self, action: Action) -> bool:
        """kill -9 at a named point."""
        ended = self.over(self.at_point(action, signal.SIGKILL, 0.0), (0, -signal.SIGKILL))
        self.counts[f"point {action.where}"] += ended.code != 0
        return ended.code == 0

    def stop(self, action: Action) -> bool:
        """A signal that asks for an end, sometimes twice."""
        number, draw = signal.Signals[action.kind], random.Random(action.seed)
        metrics = self.workdir / "metrics.jsonl"
        before, child = changed(metrics), self.start()
        self.wait(child, action)
        up, begin, saved = child.loads_jax(), time.monotonic(), max(campaign_child.steps(self.checkpoints), default=0)
        child.send(number)
        twice = draw.random() < 0.25
        if twice:
            child.wait(lambda: time.monotonic() > begin + draw.random() / 10)
            child.send(number)
        child.wait(lambda: False)
        seconds = time.monotonic() - begin
        # Python itself is deaf when it starts and when it ends
        at_once = (-number, 128 + number) if twice or not up or self.exported() else ()
        ended = self.over(child, (0, 75, *at_once), up=up)
        if ended.code == 75 and not twice and changed(metrics) != before:
            checks.check_stopped(metrics, self.saved)
        if ended.code == 0 and (saved < 0.8 * self.last or "stopping at the next step" in ended.told):
            raise checks.WrongError(f"{action.kind} was ignored at step {saved} of {self.last}")
        if ended.code:
            self.counts[action.kind] += 1
            self.longest[action.kind] = max(self.longest[action.kind], seconds)
        if seconds > STOP_SECONDS:
            raise checks.WrongError(f"{action.kind} was obeyed after {seconds:.1f} seconds")
        return ended.code == 0

    def stop_at_point(self, action: Action) -> bool:
        """A signal at a named point or soon after it."""
        metrics = self.workdir / "metrics.jsonl"
        child = self.at_point(action, signal.Signals[action.kind], max(0.0, action.moment - 0.5) / 3)
        before = changed(metrics)
        ended = self.over(child, (0, 75))
        training = action.where not in ("export staged", "export not renamed", "between renames")
        if ended.code == 0 and SENT in ended.told and training:
            raise checks.WrongError(f"{action.kind} was ignored at this point: {action.where}")
        if ended.code and changed(metrics) != before:
            checks.check_stopped(metrics, self.saved)
        self.counts[action.kind] += ended.code != 0
        return ended.code == 0

    def full_disk(self, action: Action) -> bool:
        """Another file leaves little room beside the run folder."""
        if not self.workdir.parent.is_mount():
            self.counts["skipped"] += 1
            return False
        filler, room = self.workdir.parent / "filler", random.Random(action.seed).randrange(500_000)
        filler.write_bytes(b"\0" * max(0, shutil.disk_usage(filler.parent).free - room))
        ended = self.over(self.start(), (0, 2))
        filler.unlink()
        self.counts["full disks"] += ended.code == 2
        return ended.code == 0

    def short_files(self, action: Action) -> bool:
        """From a random moment on no file may be longer than a random length."""
        child = self.start()
        self.wait(child, action)
        child.limit_files(int(10 ** random.Random(action.seed).uniform(2, 4.7)))
        ended = self.over(child, (0, 2))
        self.counts["short files"] += ended.code == 2
        return ended.code == 0

    def newest(self, action: Action) -> bool:
        """The newest checkpoint is damaged; the one before is gone on from, unless the damage did no harm."""
        *before, newest = campaign_child.steps(self.checkpoints) or [0]
        whole = max((step for step in before if checks.readable(self.workdir, step)), default=0)
        if not whole:
            return False
        damage(self.checkpoints / str(newest), random.Random(action.seed))
        damaged, self.saved = checks.contents(self.checkpoints / str(newest)), whole
        ended = self.over(self.start(), (0,), saved=(whole, newest))
        if checks.resumed(ended) == whole:
            checks.check_warned(ended, newest)
            checks.check_set_aside(self.checkpoints, damaged)
        self.counts["damaged"] += 1
        self.best_stays = False
        return True

    def all(self, action: Action) -> bool:
        """All checkpoints are damaged: nothing is gone on with, and nothing is touched; then good copies come back."""
        found = campaign_child.steps(self.checkpoints)
        if not found:
            return False
        good = self.folder / "good"
        shutil.copytree(self.checkpoints, good)
        for step in found:
            ruin(self.checkpoints / str(step), random.Random(action.seed))
        damaged = sum((checks.contents(self.checkpoints / str(step)) for step in found), collections.Counter())
        saved, self.saved = self.saved, 0
        self.over(self.start(), (2,))
        checks.check_set_aside(self.checkpoints, damaged)
        shutil.rmtree(self.checkpoints)
        shutil.move(good, self.checkpoints)
        self.saved = saved
        self.counts["all damaged"] += 1
        return False

    def check(self, whole: checks.Whole) -> None:
        """Compares the finished run with one that nobody interrupted.

        Raises:
            WrongError: they differ, or something is left behind.
        """
        checks.check_same(checks.outcome(self.workdir, self.last), whole)
        checks.check_clean(self.workdir)
        if self.best_stays and whole.best not in campaign_child.steps(self.checkpoints):
            raise checks.WrongError(f"the best step {whole.best} was not kept")


def changed(file: pathlib.Path) -> int:
    """When a file was written last; 0 where it is not there."""
    return file.stat().st_mtime_ns if file.exists() else 0


def interrupt(run: Run, todo: Plan, whole: checks.Whole, is_over: Callable[[], bool] = lambda: False) -> None:
    """Does to a run what is planned, until it is over, and goes on to the run's end.

    Raises:
        WrongError: something went wrong.
    """
    disk = any(action.kind == "full disk" for action in todo.actions)
    with small_disk(run.workdir.parent) if disk else contextlib.nullcontext():
        if not any(run.act(action) for action in todo.actions if not is_over()):
            run.over(run.start(), (0,))
        run.check(whole)


def uninterrupted(folder: pathlib.Path, generator: str, form: int) -> checks.Whole:
    """The run that others are compared with."""
    run = Run(folder, generator, form)
    run.over(run.start(), (0,))
    checks.check_clean(run.workdir)
    return checks.outcome(run.workdir, run.last)
