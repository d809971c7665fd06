"""How names, options and numbers are written, in one place: the same on the terminal, in tables and on pages."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from suite.runs import UNBOUNDED

MODEL_TITLES = {
    "cornn": "coRNN",
    "exprnn": "expRNN",
    "fastrnn": "FastRNN",
    "antisymmetric": "AntisymmetricRNN",
    "antisymmetric-gated": "AntisymmetricRNN, gated",
    "lstm": "LSTM",
    "tanh": "tanh RNN",
}
TASK_TITLES = {
    "adding": "Adding problem",
    "adding-2000": "Adding problem, T=2000",
    "adding-5000": "Adding problem, T=5000",
    "smnist": "Sequential MNIST",
    "psmnist": "Permuted sequential MNIST",
    "noisy_cifar": "Noise-padded CIFAR-10",
    "har2": "HAR-2",
    "imdb": "IMDB",
}
LONGEST_TITLE = 60  # characters of a plug-in's
METRIC_TITLES = {"accuracy": "accuracy", "mse": "MSE"}
MISSING = "–"


_BROUGHT: ContextVar[Mapping[str, str]] = ContextVar("titles of plug-ins", default={})  # noqa: B039 never written to


def model_title(model: str) -> str:
    """A model's name as papers write it; a plug-in's own title, or else the name it was asked by."""
    return MODEL_TITLES.get(model) or _BROUGHT.get().get(model, model)


def task_title(task: str) -> str:
    """A task's title; a plug-in's own, or else the name it was asked by."""
    return TASK_TITLES.get(task) or _BROUGHT.get().get(task, task)


@contextmanager
def titled(titles: Mapping[str, str]) -> Iterator[None]:
    """Within the block these plug-ins have these titles."""
    token = _BROUGHT.set(titles)
    try:
        yield
    finally:
        _BROUGHT.reset(token)


def distinct(titles: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Titles that plug-ins gave themselves, as a page can write them and no two alike.

    One that another model or task has, for its title or its name, is followed by the plug-in's name; one that is empty
    is left out.

    Args:
        titles: of plug-ins, by name, as they stand in records.
        names: of all models and tasks there are.
    """
    clean = {name: _plain_title(title) for name, title in titles.items() if name not in MODEL_TITLES | TASK_TITLES}
    known = {**MODEL_TITLES, **TASK_TITLES}
    taken = Counter(word.casefold() for word in (*known, *known.values(), *clean.values()))
    others = {name: {other.casefold() for other in names if other != name} for name in clean}
    return {
        name: f"{title} ({name})" if taken[title.casefold()] > 1 or title.casefold() in others[name] else title
        for name, title in clean.items()
        if title
    }


def _plain_title(title: str) -> str:
    """One short line; matplotlib reads a formula between two $, and hides a label that begins with _ from a legend."""
    printable = "".join(letter if letter.isprintable() and letter != "$" else " " for letter in title)
    return textwrap.shorten(printable.lstrip("_ "), LONGEST_TITLE, placeholder="…")


def model_order(models: Iterable[str]) -> list[str]:
    """The models of the suite in their fixed order, then plug-ins by name."""
    return _order(models, list(MODEL_TITLES))


def task_order(tasks: Iterable[str]) -> list[str]:
    """The tasks of the suite in their fixed order, then plug-ins by name."""
    return _order(tasks, list(TASK_TITLES))


def _order(names: Iterable[str], known: Sequence[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (known.index(name) if name in known else len(known), name))


def slug(text: str) -> str:
    """A name for files and anchors: lower case, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "x"


def free(name: str, taken: Container[str]) -> str:
    """``name``, or where it is taken the first free one of ``name-2``, ``name-3``."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name], numbered) if one not in taken)


def stems(names: Iterable[str], make: Callable[[str], str] = slug) -> dict[str, str]:
    """A file's stem for each name, no two alike: of names with one slug the first keeps it."""
    found: dict[str, str] = {}
    for name in names:
        found[name] = free(make(name), set(found.values()))
    return found


def option(value: Any) -> str:
    """One option's value as a person would type it: 66.0 and 66 alike, yes and no as true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={option(item)}" for key, item in sorted(value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(option(item) for item in value) + "]"
    return "none" if value is None else str(value)


def options(values: Mapping[str, Any]) -> str:
    """Options as ``data=digits5k, permutation=12008``; ``data`` comes first, the others in order of name."""
    keys = sorted(values, key=lambda key: (key != "data", key))
    return ", ".join(f"{key}={option(values[key])}" for key in keys)


def seeds(values: Sequence[int]) -> str:
    """Seeds as ranges: ``0-4`` or ``0-2,7``."""
    parts: list[str] = []
    ordered = sorted(set(values))
    while ordered:
        end = 0
        while end + 1 < len(ordered) and ordered[end + 1] == ordered[end] + 1:
            end += 1
        parts.append(str(ordered[0]) if end == 0 else f"{ordered[0]}-{ordered[end]}")
        ordered = ordered[end + 1 :]
    return ",".join(parts)


def budget(epochs: int, max_seconds: float | None) -> str:
    """A budget in words: ``120 epochs``, ``600 s (at most 120 epochs)``, or ``600 s`` where epochs have no bound."""
    if max_seconds is not None and epochs >= UNBOUNDED:
        return f"{option(max_seconds)} s"
    word = f"{epochs} epoch" + ("" if epochs == 1 else "s")
    return word if max_seconds is None else f"{option(max_seconds)} s (at most {word})"


def finite(value: Any) -> bool:
    """Whether the value is a number that can be written."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def metric(value: Any, name: str) -> str:
    """A figure of merit: accuracies in percent with two decimals, everything else with three digits."""
    if not finite(value):
        return MISSING
    return _minus(f"{100 * value:.2f}") if name == "accuracy" else number(value)


def spread(mean: Any, sd: Any, name: str) -> str:
    """Mean and standard deviation, ``0.0133 ± 0.0011``: as many decimals, or else two digits; the mean alone without.

    Accuracies have two decimals, both.
    """
    text = metric(mean, name)
    if text == MISSING or not finite(sd):
        return text
    if name == "accuracy":
        return f"{text} ± {metric(sd, name)}"
    decimals = len(text.partition(".")[2])
    same = "e" not in text and sd * 10**decimals >= 10 and sd < 1e6
    return f"{text} ± {f'{sd:.{decimals}f}' if same else number(sd, 2)}"


def metric_unit(name: str) -> str:
    """The unit that belongs to ``metric``: ``accuracy (%)``, ``MSE``."""
    return f"{METRIC_TITLES.get(name, name)} (%)" if name == "accuracy" else METRIC_TITLES.get(name, name)


def number(value: Any, digits: int = 3) -> str:
    """A number with ``digits`` significant digits, ``1.23e-05`` where it is small or large."""
    if not finite(value):
        return MISSING
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e6:
        return _minus(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return _minus(f"{value:.{min(decimals, 6)}f}")


def _minus(text: str) -> str:
    """A leading hyphen as a minus sign."""
    return f"−{text[1:]}" if text.startswith("-") else text


def count(value: Any) -> str:
    """A whole number with thin groups: ``134,154``."""
    return f"{int(value):,}" if finite(value) else MISSING


def seconds(value: Any) -> str:
    """A duration: ``42 s``, ``7.3 min``, ``2.1 h``."""
    if not finite(value):
        return MISSING
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
