"""Recurrent architectures behind one contract. The table below is data; nothing heavy is imported here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.contract import Recurrence

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "cornn": ("models.cornn:CoRNN", {}),
    "exprnn": ("models.exprnn:ExpRNN", {}),
    "fastrnn": ("models.fastrnn:FastRNN", {}),
    "antisymmetric": ("models.antisymmetric:AntisymmetricRNN", {"gated": False}),
    "antisymmetric-gated": ("models.antisymmetric:AntisymmetricRNN", {"gated": True}),
    "lstm": ("models.lstm:LSTM", {}),
    "tanh": ("models.tanh:TanhRNN", {}),
}


def build(name: str, *, input_size: int, hidden_size: int, **options: Any) -> Recurrence:
    """Build an architecture of the table.

    Args:
        name: a key of ``MODELS``.
        input_size: I.
        hidden_size: H.
        **options: ``engine`` and the architecture's hyperparameters.

    Raises:
        KeyError: an unknown name.
        TypeError: an unknown option, or one that the table's row fixes.
    """
    if name not in MODELS:
        known = ", ".join(MODELS)
        raise KeyError(f"unknown model {name!r}: wanted one of {known}; a class of your own is called by itself")
    target, fixed = MODELS[name]
    both = sorted(set(fixed) & set(options))
    if both:
        raise TypeError(f"{name} fixes {', '.join(both)}")
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)(input_size, hidden_size, **fixed, **options)
