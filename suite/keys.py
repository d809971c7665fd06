"""The trainer's keys in a recipe: types, meanings, ranges, and which of them other keys leave without effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from suite.errors import UsageError, unknown
from suite.names import Plugin
from suite.runs import LATER
from suite.values import coerce

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd", "adagrad")
DECAYS = ("none", "cosine", "linear")


@dataclass(frozen=True)
class Key:
    """One key of the trainer: its type, what it means, its range and its default.

    ``only``: the optimizer that it is for. ``needs``: the key without which it has no effect. ``choices``: of a text.
    """

    type: Any
    sentence: str
    default: Any = None
    low: float = -math.inf
    strict: bool = False
    below: float = math.inf
    only: str = ""
    needs: str = ""
    choices: tuple[str, ...] = ()


TRAINER: dict[str, Key] = {
    "hidden_size": Key(int, "H, hidden units.", low=1),
    "num_layers": Key(
        int, "Recurrent layers, one upon the other, of H units each.", default=LATER["num_layers"], low=1
    ),
    "batch_size": Key(int, "Examples a training step.", low=1),
    "epochs": Key(int, "Epochs to train.", low=1),
    "lr": Key(float, "Learning rate.", low=0, strict=True),
    "optimizer": Key(
        str, "adam, adamw, rmsprop, sgd or adagrad, other settings as in torch.", default="adam", choices=OPTIMIZERS
    ),
    "rmsprop_alpha": Key(float, "Smoothing of RMSprop.", default=0.99, low=0, only="rmsprop"),
    "sgd_momentum": Key(float, "Momentum of SGD.", default=LATER["sgd_momentum"], low=0, below=1, only="sgd"),
    "sgd_nesterov": Key(
        bool, "Whether it is Nesterov's.", default=LATER["sgd_nesterov"], only="sgd", needs="sgd_momentum"
    ),
    "weight_decay": Key(
        float,
        "Weight decay: with adamw apart from the gradient, else added to it (L2).",
        default=LATER["weight_decay"],
        low=0,
    ),
    "lr_warmup_steps": Key(
        int, "Over so many training steps the rate rises linearly to lr.", default=LATER["lr_warmup_steps"], low=0
    ),
    "lr_decay": Key(
        str,
        "none, cosine or linear: after the warm-up the rate falls to zero at the end of the last epoch.",
        default=LATER["lr_decay"],
        choices=DECAYS,
    ),
    "lr_drop_epoch": Key(int, "After this epoch the rate is divided by lr_drop_factor; 0: never.", default=0, low=0),
    "lr_drop_factor": Key(float, "See lr_drop_epoch.", default=10.0, low=0, strict=True, needs="lr_drop_epoch"),
    "clip_norm": Key(float, "Total gradient norm is clipped to this; 0: no clipping.", default=0.0, low=0),
    "eval_batch_size": Key(int, "Examples an evaluation step; 0: as memory allows.", default=0, low=0),
    "test_every": Key(int, "Test after every k-th epoch, at a new best and at the end.", default=1, low=1),
}


def keys_for(model: Plugin) -> dict[str, Key]:
    """The trainer's keys of a model: those that came later yield to a hyperparameter of the same name."""
    return {key: rule for key, rule in TRAINER.items() if key not in LATER or key not in model.schema}


def options_of(model: Plugin, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own hyperparameters of a recipe."""
    known = keys_for(model)
    return {key: value for key, value in recipe.items() if key not in known}


def trainer_keys(model: Plugin, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's keys of a recipe, later ones that it leaves out or that are the model's with what holds then."""
    known = keys_for(model)
    return {**LATER, **{key: value for key, value in recipe.items() if key in known}}


def check_own_keys(model: Plugin) -> None:
    """Refuse a model whose hyperparameters a recipe could not tell from the trainer's keys.

    Raises:
        UsageError: one has the name of a trainer's key, other than those that came later.
    """
    for key in model.schema:
        if key in keys_for(model):
            raise UsageError(f"model {model.name}: its hyperparameter {key} has the name of a trainer's key")


def with_effect(model: Plugin, given: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What is given over a recipe, less the trainer's keys that other keys leave without effect."""
    known, values = keys_for(model), {**recipe, **given}
    return {key: value for key, value in given.items() if key not in known or counts(known[key], values)}


def counts(rule: Key, values: Mapping[str, Any]) -> bool:
    """Whether other keys leave this one an effect."""
    return rule.only in ("", values.get("optimizer")) and (not rule.needs or bool(values.get(rule.needs)))


def in_range(name: str, value: Any, rule: Key) -> Any:
    """The value in the key's type.

    Raises:
        UsageError: another type, or out of range.
    """
    value = coerce(name, value, Parameter("x", Parameter.KEYWORD_ONLY, annotation=rule.type))
    if rule.type is str:
        if value not in rule.choices:
            raise UsageError(f"{name}: {unknown(name.rpartition('.')[2], value, rule.choices)}")
        return value
    good = value > rule.low if rule.strict else value >= rule.low
    if not good or not value < rule.below:
        below = f" and < {rule.below:g}" if math.isfinite(rule.below) else ""
        raise UsageError(f"{name}: wanted {'>' if rule.strict else '>='} {rule.low:g}{below}, got {value}")
    return value
