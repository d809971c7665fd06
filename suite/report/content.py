"""Descriptions of models and tasks that the package carries, and equations as HTML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from suite.report import wording

ADDING = ("adding", "adding-2000", "adding-5000")  # names of one task at three lengths


@cache
def _load(kind: str, name: str) -> dict[str, Any]:
    place = files("suite.report").joinpath("content", kind, f"{wording.slug(name) if ':' in name else name}.toml")
    if not place.is_file():
        return {}
    return tomllib.loads(place.read_text(encoding="utf-8"))


def model(name: str) -> dict[str, Any]:
    """What is known of a model: title, equations, source; of a plug-in its title alone."""
    nothing: dict[str, Any] = {"title": wording.model_title(name), "name": name}
    nothing |= {"equations": [], "diagnostics": {}, "blocks": []}
    texts = dict.fromkeys(("summary", "symbols", "initialisation", "source", "link"), "")
    return nothing | texts | _load("models", name)


def task(name: str) -> dict[str, Any]:
    """What is known of a task: title, protocol, data sets; of a plug-in its title alone."""
    nothing: dict[str, Any] = {"title": wording.task_title(name), "summary": "", "source": "", "published_note": ""}
    nothing |= {"target": None, "epochs": None, "full": {}, "published_for": {}}
    lists: dict[str, Any] = {"protocol": [], "data": [], "fixed": []}
    return nothing | lists | _load("tasks", name)


def departures(name: str, options: Mapping[str, Any]) -> list[str]:
    """Options of a task in which a variant departs from its protocol; those of the amount of data first."""
    none = dict.fromkeys(("train_examples", "valid_examples", "test_examples", "max_length", "noise_seed"))
    full = none | task(name)["full"]
    return [key for key, value in full.items() if options.get(key, value) != value]


def elsewhere(name: str, options: Mapping[str, Any]) -> bool:
    """Whether the published recipe of a task is one for other options than these (``published_for`` of its file)."""
    return any(options.get(key) != value for key, value in task(name)["published_for"].items())


_TOKEN = re.compile(r"([_^])(\{[^}]*\}|\S)|([A-Za-z]+)|(.)", re.DOTALL)


def equation(text: str) -> Markup:
    """A line such as ``h_t = tanh(W x_t + U h_{t-1} + b)`` as HTML: sub- and superscripts, single letters slanted.

    Args:
        text: ``_x`` or ``_{...}`` lowers, ``^x`` or ``^{...}`` raises; other characters stand for themselves.
    """
    parts: list[str] = []
    for match in _TOKEN.finditer(text.replace("{n-1}", "{n−1}").replace("{t-1}", "{t−1}")):
        mark, raised, word, other = match.groups()
        if mark:
            tag = "sub" if mark == "_" else "sup"
            parts.append(f"<{tag}>{equation(raised.strip('{}'))}</{tag}>")
        elif word:
            parts.append(f"<var>{word}</var>" if len(word) == 1 else str(escape(word)))
        else:
            parts.append(str(escape(other)))
    return Markup("".join(parts))
