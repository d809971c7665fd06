"""HAR-2: two classes of human activity from 128 steps of nine inertial signals (50 Hz).

UCI's labels 1..6 are walking, upstairs, downstairs, sitting, standing, laying; 1, 3, 5 become class 1 and 2, 4, 6
class 0 (FastGRNN, appendix B). Channels in order: body acceleration x y z, body gyroscope x y z, total
acceleration x y z. Sources are silent or disagree on normalisation and validation; both are options.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tasks.cache import Arrays, cached
from tasks.contract import Batch, Spec, Split, TaskError
from tasks.draws import first_of_test, permutation
from tasks.errors import DataError
from tasks.indexed import Binary
from tasks.options import choice, fraction, optional_integer
from tasks.sources import HAR_FOLDER, HAR_SIGNALS, check, data_root

WINDOWS = {"train": 7_352, "test": 2_947}
STEPS = 128
PARSER = 1  # bump when the arrays in the cache change


def _numbers(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers of a text file as float64 of ``shape``.

    Raises:
        DataError: another count, a word that is no number, or a number that is not finite.
    """
    wanted = int(np.prod(shape))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # numpy's way of saying "that is no number"
            values = np.fromstring(path.read_bytes().decode("ascii"), dtype=np.float64, sep=" ")
    except (OSError, ValueError, DeprecationWarning) as error:
        raise DataError(f"{path} cannot be read as numbers ({error}): import it again") from error
    if len(values) != wanted or not np.isfinite(values).all():
        raise DataError(f"{path}: wanted {wanted:,} finite numbers, got {len(values):,}: import it again")
    return values.reshape(shape)


def _parse(root: Path) -> Arrays:
    """Signals float32 (10299,128,9), activity 1..6 and subject 1..30 uint8 (10299,), training windows first."""
    folder = root / HAR_FOLDER
    signals = np.empty((sum(WINDOWS.values()), STEPS, len(HAR_SIGNALS)), dtype=np.float32)
    labels: dict[str, list[np.ndarray]] = {"y": [], "subject": []}
    start = 0
    for split, count in WINDOWS.items():
        for channel, name in enumerate(HAR_SIGNALS):
            path = folder / split / "Inertial Signals" / f"{name}_{split}.txt"
            signals[start : start + count, :, channel] = _numbers(path, (count, STEPS))
        for kind, found in labels.items():
            found.append(_numbers(folder / split / f"{kind}_{split}.txt", (count,)).astype(np.uint8))
        start += count
    activity, subject = (np.concatenate(found) for found in labels.values())
    if set(np.unique(activity)) != set(range(1, 7)):
        raise DataError(f"{folder}: wanted the activities 1..6, got {sorted(set(activity.tolist()))}")
    return {"signals": signals, "activity": activity, "subject": subject}


def har_arrays(root: Path, key: str) -> Arrays:
    """The data set from the cache, or parsed now (two seconds): ``signals``, ``activity``, ``subject``."""
    return cached(root, "har", (key, PARSER), ("signals", "activity", "subject"), lambda: _parse(root))


class HAR2(Binary):
    """HAR-2.

    Args:
        seed: the data seed.
        data_dir: the data root, or None for the default one.
        normalise: ``standardise`` each channel by mean and deviation of the training part, or ``none``.
        split: validation by ``random`` training windows, or by whole ``subjects``; the test windows are the official
            ones (nine other people). ``pooled`` mixes all 10,299 windows and draws 2,947 for the test by the data seed,
            so the same people, in overlapping windows, are on both sides: not the official test. ``random`` has that
            between training and validation: windows overlap by half, so validation is far above test accuracy.
        validation_fraction: part of the 7,352 training windows (or of the 21 subjects) drawn by the data seed.
        train_examples: take only the first of the (shuffled) training part; None: all.
        test_examples: take only so many test windows, the same for every seed (not where split is pooled); None: all.

    Raises:
        TaskError: an option out of range.
        DataError: the raw files are missing or altered.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "arXiv:1901.02358 (FastGRNN), appendix B; github.com/tk-rusch/coRNN HAR-2"
    resident = ("signals", "labels")

    def __init__(
        self,
        *,
        seed: int,
        data_dir: Path | None = None,
        normalise: str = "standardise",
        split: str = "random",
        validation_fraction: float = 0.2,
        train_examples: int | None = None,
        test_examples: int | None = None,
    ) -> None:
        super().__init__(seed=seed, data_dir=data_dir)
        choice("normalise", normalise, ("standardise", "none"))
        choice("split", split, ("random", "subjects", "pooled"))
        part = fraction("validation_fraction", validation_fraction)
        wanted = optional_integer("test_examples", test_examples, 1)
        state = check(self.requires(), data_dir)["uci_har"]
        stored = har_arrays(data_root(data_dir), state.key)
        train, valid, test = self._draw(split, part, torch.from_numpy(stored["subject"]))
        self._set_indices(train, valid, test[first_of_test(WINDOWS["test"], wanted)])
        self._limit_train(train_examples)
        self.signals = torch.from_numpy(stored["signals"])
        if normalise == "standardise":
            self._standardise(train)
        self.labels = torch.from_numpy(stored["activity"] % 2).float().unsqueeze(1)
        self.facts = {"data": "har2", "files": state.variant, "normalisation": normalise, "validation": split}
        self.spec = Spec(
            input_size=len(HAR_SIGNALS),
            output_size=1,
            length=STEPS,
            metric="accuracy",
            higher_is_better=True,
            chance=self._chance(),
        )

    @classmethod
    def requires(cls, **options: object) -> tuple[str, ...]:
        """The UCI HAR data, whatever the options."""
        return ("uci_har",)

    @classmethod
    def test_moves(cls, *, split: str = "random", **options: object) -> bool:
        """Only ``pooled`` draws the test windows by the data seed."""
        return split == "pooled"

    def _draw(self, split: str, part: float, subjects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Indices of the training, validation and test windows."""
        test = torch.arange(WINDOWS["train"], sum(WINDOWS.values()))
        if split == "pooled":
            everything = permutation(sum(WINDOWS.values()), self.seed, "pooled")
            test, rest = everything[: WINDOWS["test"]], everything[WINDOWS["test"] :]
            count = round(part * len(rest))
            return rest[count:], rest[:count], test
        if split == "random":
            order = permutation(WINDOWS["train"], self.seed, "split")
            count = round(part * WINDOWS["train"])
            return order[count:], order[:count], test
        people = subjects[: WINDOWS["train"]].unique()
        count = round(part * len(people))
        if not 0 < count < len(people):
            raise TaskError(f"option validation_fraction: {part} leaves no subject on one side of {len(people)}")
        chosen = people[permutation(len(people), self.seed, "subjects")[:count]]
        is_valid = torch.isin(subjects[: WINDOWS["train"]], chosen)
        train = (~is_valid).nonzero().squeeze(1)
        train = train[permutation(len(train), self.seed, "split")]
        return train, is_valid.nonzero().squeeze(1), test

    def _standardise(self, train: Tensor) -> None:
        """Zero mean, unit variance a channel over the whole training part (also where only a part is used)."""
        part = self.signals[train].double().flatten(0, 1)
        mean, deviation = part.mean(dim=0), part.std(dim=0, correction=0)
        self.signals.sub_(mean.float()).div_(deviation.float())

    def _chance(self) -> float:
        """Test accuracy of always guessing the commoner class of the training part."""
        guess = float(self.labels[self.indices["train"]].mean() > 0.5)
        return float((self.labels[self.indices["test"]] == guess).float().mean())

    def gather(self, split: Split, index: Tensor) -> Batch:
        """X float32 (B,128,9), y float32 (B,1)."""
        return Batch(self.signals[index], self.labels[index])
