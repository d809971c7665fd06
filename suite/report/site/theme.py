"""The stylesheet's colours: the page's in light and dark, and each model's in both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files

from suite.report import wording
from suite.report.style import FAINT, INK, Look

_DARK_PAGE = """
  --paper: #14171b; --sheet: #1c2126; --ink: #e9ecef; --soft: #b3bcc6; --line: #39424c; --link: #82b7f2;
  --focus: #ffb27a; --faint: #98a2ad; --plot: #171b20;
  color-scheme: dark;
"""
_DARK_MODELS = {  # lighter, for a dark page
    "#0072b2": "#4aa8e0",
    "#d55e00": "#ff8a4c",
    "#009e73": "#2fc79b",
    "#cc79a7": "#e6a3c9",
    "#56b4e9": "#8ad0f7",
    "#e69f00": "#f2b838",
    "#111111": "#e9ecef",
    "#882255": "#d77aa8",
    "#8c4a6b": "#cf93b0",
    "#999933": "#c9c968",
    "#44aa99": "#6fd1c1",
    "#661100": "#d98a78",
    "#6699cc": "#93bce6",
}


def _variable(model: str) -> str:
    return f"--model-{wording.slug(model).replace('.', '-')}"


def variables(models: Iterable[str]) -> dict[str, str]:
    """The CSS variable that holds each model's colour."""
    return wording.stems(wording.model_order(models), _variable)


def colours(looks: Mapping[str, Look]) -> dict[str, str]:
    """Hex colour of a figure -> CSS variable, so that figures follow the page's theme."""
    found = {colour: f"--colour-{colour[1:]}" for colour in _DARK_MODELS}
    names = variables(looks)
    found |= {look.colour: names[model] for model, look in sorted(looks.items())}
    return found | {INK: "--ink", FAINT: "--faint"}


def stylesheet(looks: Mapping[str, Look]) -> str:
    """The shared stylesheet with the models' colours for both themes."""
    text = files("suite.report").joinpath("assets", "site.css").read_text(encoding="utf-8")
    names = variables(looks)
    named = {names[model]: look.colour for model, look in sorted(looks.items())}
    named |= {f"--colour-{colour[1:]}": colour for colour in _DARK_MODELS}
    light = "".join(f"  {name}: {colour};\n" for name, colour in named.items())
    dark = "".join(f"  {name}: {_DARK_MODELS.get(colour, colour)};\n" for name, colour in named.items())
    rules = (
        f":root {{\n{light}}}\n"
        f":root[data-theme=dark] {{{_DARK_PAGE}{dark}}}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{{_DARK_PAGE}{dark}}} }}\n"
        "@media print { :root, :root[data-theme=dark] { --paper: #ffffff; --ink: #000000; --plot: #ffffff; } }\n"
    )
    return text.replace("/* DARK */\n", rules)
