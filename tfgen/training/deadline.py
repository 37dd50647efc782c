"""A run that ends by the clock: the share of its time that is used, which a resumption repeats."""

import collections
import time
from statistics import mean
from typing import NamedTuple

from tfgen.training.folder import RunFolder, append_line, read_lines

# Seconds from one change of the share to the next; a longer step is a change of its own.
_INTERVAL = 1.0
# The latest steps, whose mean time says how fast the machine is; and the fewest that say it.
_STEPS, _FEWEST = 8, 4
# What follows the training takes this part of the time of compiling a step, beside its pictures.
_PUBLISHING = 0.15


class Point(NamedTuple):
    """Minutes of a run that are used, from a step on."""

    step: int
    minutes: float


def read_points(folder: RunFolder) -> list[Point]:
    """The log of a deadline; empty without a log."""
    rows = read_lines(folder.schedule, Point._fields)
    return [Point(row["step"], row["minutes"]) for row in rows]


def minutes_used(folder: RunFolder) -> float:
    """Minutes that a run has used: by that log, or else by the time of its epochs."""
    points = read_points(folder)
    seconds = sum(row.get("seconds", 0.0) for row in folder.read_metrics())
    return points[-1].minutes if points else seconds / 60


class Deadline:
    """The clock of a run that is to take so many minutes, until its model is published.

    The share of the time that is used decides the learning rate, and the end. It changes about once
    a second. Each change is logged with its step, and a run that repeats steps repeats the changes.

    Args:
        folder: the run directory, whose `schedule.jsonl` is the log.
        minutes: of the whole run, those before a resumption included.
        step: the step after which the run goes on.
        began: `time.monotonic()` when the command began.

    Attributes:
        share: of the minutes, 0…1; at 1, the training is over.
        after: seconds of what follows the training, at the speed that the machine had at its start.
        step_seconds: of a step, lately; 0 before the first ones.
    """

    def __init__(self, folder: RunFolder, minutes: float, step: int, began: float):
        points, used = read_points(folder), minutes_used(folder)
        past = [point.minutes for point in points if point.step <= step]
        self._path, self._minutes = folder.schedule, minutes
        self._repeated = points[len(past) :]
        self.share = (past[-1] if past else 0.0 if points else used) / minutes
        self._end = began + 60 * (minutes - used)
        self.after = self.step_seconds = self._first_seconds = 0.0
        self._times = collections.deque[float](maxlen=_STEPS)
        # When the last step was done, the share last changed, and steps were first not repeated.
        self._stepped_at = self._changed_at = self._started_at = 0.0
        self._first_share, self._is_compiled = self.share, False

    @property
    def is_over(self) -> bool:
        """Whether the training is over."""
        return self.share >= 1

    @property
    def seconds_to_end(self) -> float:
        """Seconds until the model is published."""
        return self._end - time.monotonic()

    @property
    def seconds_left(self) -> float:
        """Seconds until the training ends, if the machine stays as fast as it is."""
        slower = self.step_seconds / self._first_seconds if self._first_seconds else 1.0
        return self.seconds_to_end - slower * self.after

    def begin_epoch(self) -> None:
        """Take the time of the next step from now on."""
        self._stepped_at = time.monotonic()

    def move(self, step: int) -> bool:
        """Take note that a step is done; return whether the share has changed."""
        now, before = time.monotonic(), self.share
        seconds, self._stepped_at = now - self._stepped_at, now
        if not self._is_compiled:
            self.after += _PUBLISHING * seconds
            self._is_compiled, seconds = True, 0.0
        if self._repeated:
            self._end += seconds  # which the run has spent already
            while self._repeated and self._repeated[0].step <= step:
                self.share = self._repeated.pop(0).minutes / self._minutes
        else:
            self._go_on(step, now, seconds)
        return self.share != before

    def _go_on(self, step: int, now: float, seconds: float) -> None:
        """Change the share after a step that took so many seconds, if that is due."""
        if seconds:
            self._times.append(seconds)
            self.step_seconds = mean(self._times) if len(self._times) >= _FEWEST else 0.0
        if not self._first_seconds and len(self._times) == _STEPS:
            self._first_seconds = self.step_seconds
        if not self._started_at:
            self._started_at, self._first_share = now, self.share
        if (left := self.seconds_left) < self.step_seconds / 2:
            self.end(step)
        elif now - self._changed_at >= _INTERVAL:
            done, rest = now - self._started_at, 1 - self._first_share
            share = self._first_share + rest * done / (done + left)
            self._write(step, max(self.share, share) * self._minutes)
            self._changed_at = now

    def end(self, step: int) -> None:
        """End the training after this step."""
        if not self.is_over:
            self._write(step, self._minutes)

    def _write(self, step: int, minutes: float) -> None:
        self.share = minutes / self._minutes
        append_line(self._path, Point(step, minutes)._asdict())
