"""What a training prints: a line for each epoch, how far a long one is, and the time left."""

from __future__ import annotations

import time
from math import ceil
from typing import Any

from skorch.callbacks import PrintLog


class Progress(PrintLog):
    """Print a line for each epoch, and more where epochs are long.

    The time left is that of the epochs to come, each as long as those so far on average. It does
    not foresee that a callback ends the training, but for one with ``seconds_left()``.

    Parameters
    ----------
    seconds : float, default=10.0
        Time from one line to the next within an epoch; shorter epochs get none.
    """

    #: It has no part in what a checkpoint keeps.
    only_shows = True

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        self._n_batches = len(net.get_iterator(X, training=True))
        # Epochs before a restart were timed by another clock.
        self._begin, self._n_epochs = time.monotonic(), 0

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self._epoch_begin, self._n_lines, self._n_done = time.monotonic(), 0, 0

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if not training:
            return
        self._n_done += 1
        now = time.monotonic()
        spent = now - self._epoch_begin
        if spent >= self.seconds * (self._n_lines + 1) and self._n_done < self._n_batches:
            self._n_lines = int(spent / self.seconds)
            share = self._n_done / self._n_batches
            of_all = self._seconds_left(net, now, self._n_epochs + share)
            print(
                f"Epoch {len(net.history)}: {self._n_done} of {self._n_batches} batches, "
                f"{duration(spent)}, about {duration(spent * (1 / share - 1))} left, "
                f"of all epochs {duration(of_all)}.",
                flush=True,
            )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self._n_epochs += 1
        self._left = duration(self._seconds_left(net, time.monotonic(), self._n_epochs))
        super().on_epoch_end(net, **kwargs)

    def table(self, row: Any) -> str:
        """Return header, rule and values of an epoch, with the time left in the last column."""
        column = ("left", "-------", self._left)
        lines = zip(super().table(row).split("\n"), column, strict=True)
        return "\n".join(f"{line}  {part:>7}" for line, part in lines)

    def _seconds_left(self, net: Any, now: float, n_epochs: float) -> float:
        """Return the time left after some epochs, the last one perhaps in part."""
        each = (now - self._begin) / n_epochs
        rest = ceil(n_epochs) - n_epochs
        to_come = net.n_epochs_to_come
        for _, callback in net.callbacks_:
            if hasattr(callback, "seconds_left"):
                to_come = min(to_come, max(0, int(callback.seconds_left() / each - rest)))
        return (rest + to_come) * each


def duration(seconds: float) -> str:
    """Return a time in two or three digits, as "45 s", "12 min" or "3.1 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
