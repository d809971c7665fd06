"""The page with the coRNN paper's figures, drawn from the records at hand."""

from __future__ import annotations

from collections.abc import Sequence

from suite.report import content, wording
from suite.report.evidence.groups import Section
from suite.report.plots import assumption, paper
from suite.report.plots.common import Plot
from suite.report.site.pages import Part, plain
from suite.report.site.site import Site
from suite.report.site.views import View

_REPEATED = (
    "Of the records at hand, whose own commands are on the models' pages. All runs of the protocol, to its last epoch:"
)


def write(site: Site, views: Sequence[View]) -> None:
    """The coRNN paper's figures from our records."""
    sections = [view.section for view in views]
    wanted: list[tuple[str, Sequence[Plot | None], str]] = [
        (
            "Adding problem",
            [paper.adding(sections, site.looks)],
            f"python -m suite.run --models {_models(sections, content.ADDING)} --tasks {','.join(content.ADDING)}",
        ),
        (
            "psMNIST at 128 units",
            [paper.psmnist_128(sections, site.looks)],
            f"python -m suite.run --models {_models(sections, ('psmnist',))} --tasks psmnist --set hidden_size=128",
        ),
        (
            "Weight assumption",
            [assumption.assumption(sections)],
            f"python -m suite.run --models cornn --tasks {_tasks(sections)} --seeds 0-9",
        ),
        (
            "Ablation over ε and γ",
            paper.ablations(sections),
            "for e in 2 8 16 32; do for g in 0.5 1.3 4; do python -m suite.run --models cornn --tasks noisy_cifar"
            " --set cornn.epsilon=$e --set cornn.gamma=$g; done; done",
        ),
    ]
    parts = []
    for heading, plots, command in wanted:
        kept = [plot for plot in plots if plot is not None]
        told = _REPEATED if kept else "There are no records for this figure yet. This makes them:"
        parts.append(Part(heading, [told], command, plots=kept, wide=True))
    lead = "The figures of the coRNN paper (Rusch and Mishra, ICLR 2021) drawn anew from the records of this suite."
    plain(site, "figures.html", "Paper figures", lead, parts)


def _models(sections: Sequence[Section], tasks: Sequence[str]) -> str:
    """The models that records of these tasks have, and those of the paper's figures, for a command."""
    known = {group.run.model for section in sections if section.variant.task in tasks for group in section.groups}
    return ",".join(wording.model_order(known | {"cornn", "exprnn", "fastrnn", "antisymmetric", "tanh"}))


def _tasks(sections: Sequence[Section]) -> str:
    """The tasks that coRNN has records of, for a command."""
    mine = {section.variant.task for section in sections if any(one.run.model == "cornn" for one in section.groups)}
    return ",".join(wording.task_order(mine | {"psmnist"}))
