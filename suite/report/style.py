"""One look for every figure: colours and markers that stay with a model, and SVG that repeats byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from io import BytesIO, StringIO

import matplotlib
import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Look:
    """How one model is drawn everywhere: hue for the eye, marker for grey print."""

    colour: str
    marker: str
    dashes: str = "-"


# matplotlib leaves pure black out of a marker's style, and a dark page could not recolour it: #111111 stands for it.
# Okabe and Ito's palette, safe for the common kinds of colour blindness; near-black is the baseline, the tanh RNN.
LOOKS = {
    "cornn": Look("#0072b2", "o"),
    "exprnn": Look("#d55e00", "s"),
    "fastrnn": Look("#009e73", "^"),
    "antisymmetric": Look("#cc79a7", "D"),
    "antisymmetric-gated": Look("#56b4e9", "P"),
    "lstm": Look("#e69f00", "v"),
    "tanh": Look("#111111", "X"),
}
_SPARE = (  # for plug-ins, in order of name
    Look("#882255", "*", "--"),
    Look("#44aa99", ">", "--"),
    Look("#999933", "<", "--"),
    Look("#8c4a6b", "d", "--"),
    Look("#661100", "p", "--"),
    Look("#6699cc", "h", "--"),
)
KINDS: dict[str, dict[str, None]] = {  # of files beside the SVG, with what would tell two renderings apart
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
PNG_DPI = 200
_kinds: ContextVar[tuple[str, ...]] = ContextVar("kinds", default=())
INK = "#000000"
FAINT = "#8a8a8a"

_RC = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # TrueType: journals refuse matplotlib's Type 3
    "svg.hashsalt": "rnnbench",
    "font.family": ["DejaVu Sans"],
    "font.size": 12.0,
    "axes.titlesize": 12.5,
    "axes.titley": 1.0,  # where each title ends up anyway after a search among all ticks, a fifth of the drawing
    "axes.labelsize": 12.0,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "legend.fontsize": 11.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.7,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.5,
    "axes.formatter.useoffset": False,
    "figure.dpi": 72.0,
}


def looks(models: Iterable[str]) -> dict[str, Look]:
    """Each model's look; plug-ins take spare ones in order of name."""
    strangers = sorted(set(models) - set(LOOKS))
    spare = {model: _SPARE[i % len(_SPARE)] for i, model in enumerate(strangers)}
    return LOOKS | spare


@contextmanager
def drawing(kinds: Sequence[str] = ()) -> Iterator[None]:
    """Matplotlib's own defaults plus ours, whatever the user's matplotlibrc says.

    Args:
        kinds: what ``files`` gives beside the SVG: some of ``KINDS``.
    """
    before = _kinds.set(tuple(kinds))
    try:
        with matplotlib.style.context(["default", _RC]):
            yield
    finally:
        _kinds.reset(before)


def canvas(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = 7.4,
    height: float = 3.9,
    left: float = 0.85,
    between: float = 0.75,
    titles: int = 0,
) -> tuple[Figure, list[Axes]]:
    """A figure outside pyplot's global state, and its axes in reading order; all sizes in inches.

    Margins are fixed in place of a layout engine, which would cost more time than everything else together.

    Args:
        rows: rows of panels.
        columns: columns of panels.
        width: of the figure.
        height: of the figure without its legend.
        left: room for the y axis's numbers and label.
        between: room between columns.
        titles: lines of the panels' titles.
    """
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    top, bottom, right = 0.16 + 0.2 * titles, 0.6, 0.3
    panel_width = (width - left - right - between * (columns - 1)) / columns
    gap = 0.62 + 0.2 * titles
    panel_height = (height - top - bottom - gap * (rows - 1)) / rows
    axes = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": left / width,
            "right": 1 - right / width,
            "top": 1 - top / height,
            "bottom": bottom / height,
            "wspace": between / panel_width,
            "hspace": gap / panel_height,
        },
    )
    return figure, list(axes.flat)


def heighten(figure: Figure, inches: float) -> None:
    """Make room at the foot of a figure; the axes keep their size."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + inches)
    for axes in figure.axes:
        box = axes.get_position()
        foot = (box.y0 * height + inches) / (height + inches)
        axes.set_position((box.x0, foot, box.width, box.height * height / (height + inches)))


def svg(figure: Figure) -> str:
    """The figure as SVG text without date, version or XML prologue; text stays text."""
    buffer = StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Other systems have no DejaVu Sans: Verdana is as wide, so nothing overlaps there either.
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    return re.sub(r"[ \t]+\n", "\n", text)


def files(figure: Figure) -> dict[str, bytes]:
    """The figure in each further kind asked for, on white, without date."""
    made = {}
    for kind in _kinds.get():
        buffer = BytesIO()
        figure.savefig(buffer, format=kind, dpi=PNG_DPI if kind == "png" else "figure", metadata=KINDS[kind])
        made[kind] = buffer.getvalue()
    return made


def standalone(text: str) -> str:
    """The SVG with a white sheet behind it, readable wherever the file is opened."""
    end = text.index(">", text.index("<svg")) + 1
    return text[:end] + '\n <rect width="100%" height="100%" fill="#ffffff"/>' + text[end:]


_NAMED = re.compile(r'(\bid="|url\(#|xlink:href="#)')


def inline(text: str, *, name: str, label: str, colours: Mapping[str, str]) -> str:
    """The SVG for use inside a page: own ids, an accessible name, and colours that follow the page's theme.

    Args:
        text: what ``svg`` gave.
        name: prefix for ids, unique in the page.
        label: what a screen reader says.
        colours: hex colour -> CSS variable, e.g. ``{"#0072b2": "--model-cornn"}``.
    """
    from markupsafe import escape

    text = _NAMED.sub(lambda match: f"{match[1]}{name}-", text)
    for colour, variable in colours.items():
        text = text.replace(colour, f"var({variable}, {colour})")
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()  # type: ignore[union-attr]
    end = text.index(">", text.index("<svg"))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="0 0 {width} {height}" style="max-width:{1.4 * float(width):.0f}px"'
        f' role="img" aria-label="{escape(label)}"'
    )
    return opening + text[end:]
