"""The sentences under a leaderboard's table."""

from __future__ import annotations

from suite.report import wording
from suite.report.evidence import facts
from suite.report.evidence.groups import OWN_BUDGET, Section
from suite.report.evidence.pairs import told_apart

INCOMPLETE = "†"
SHARED = "* Other runs or work had a part of the machine, or its record cannot say: times are upper bounds."


def notes(section: Section) -> str:
    """Sentences under a section's table: what its marks mean and what to be careful with."""
    found = []
    if any(not group.complete for group in section.groups):
        lacking = f"lacks seeds of this table ({wording.seeds(sorted(section.seeds))})"
        found.append(
            f"{INCOMPLETE} {lacking if section.seeds else 'no seed is held by most of the models'}: not ranked."
        )
    if any(len(group.seeds) == 1 for group in section.groups):
        found.append("One seed has no interval and no rank.")
    if len({group.run.model for group in section.groups}) == 1 and any(len(g.seeds) > 1 for g in section.groups):
        found.append("One model alone has no rank.")
    if len(section.ranked) > 1 and section.pairs:
        found.append(told_apart(section.pairs))
    if section.against is not None:
        found.append(f"Of the pairs only those with {wording.model_title(section.against)} are compared.")
    if any(group.diverged for group in section.groups):
        guess = "" if section.chance is None else "a constant guess or, where that is worse, as "
        found.append(
            f"Diverged runs are left out of mean and interval; in the rank they count as {guess}the worst score here."
        )
    if section.chance is not None:
        found.append(_guess(section))
    if any(not group.primary for group in section.groups):
        found.append(
            "Of several recipes of one model one is ranked: newest version, then most seeds, then not set by hand, then"
            " fewest diverged, then best validation mean."
        )
    sizes = [float(group.entries[0].record["size"]["parameters"]) for group in section.groups]
    if section.track != "matched-params" and sizes and max(sizes) > 1.5 * min(sizes):
        low, high = wording.count(min(sizes)), wording.count(max(sizes))
        found.append(f"Sizes are not matched: {low} to {high} parameters.")
    if section.budget == OWN_BUDGET and len({group.run.budget.epochs for group in section.ranked}) > 1:
        found.append("Epochs differ, each as its recipe says.")
    if facts.engines_differ(section.groups):
        found.append(facts.engines_differ(section.groups))
        if section.machine is not None:
            found.append("Training ended by time, so scores rest on engines too.")
    if any(entry.shared for group in section.groups for entry in group.entries):
        found.append(SHARED)
    if any(entry.together > 1 for group in section.groups for entry in group.entries):
        found.append("Seeds trained side by side (engine-xN) are each given their share of the time of all N.")
    if any(entry.mixed for group in section.groups for entry in group.entries):
        found.append(
            "Some runs went on otherwise after an interruption (machine, engine, threads): their times are mixed."
        )
    if any(
        len({str(e.record["where"]["plugins"]) for e in g.entries if e.record["where"].get("plugins")}) > 1
        for g in section.groups
    ):
        found.append("Some rows mix runs of different code of a plug-in: its file has changed, its version has not.")
    if facts.data_differ(section):
        found.append(
            "Runs report different data (above the table): rows that mix them, or differ in them, are not comparable."
        )
    if any(entry.record["where"]["dirty"] for group in section.groups for entry in group.entries):
        found.append("Some runs come from a checkout with uncommitted changes.")
    return " ".join(found)


def _guess(section: Section) -> str:
    """What a constant guess has, whether seeds differ in it, and whether any run got away from it."""
    low, high = (wording.metric(end(section.guesses.values()), section.metric) for end in (min, max))
    own = f" ({low} to {high}, by the test examples of the seed)" if low != high else ""
    near = ": no run went a tenth of the way from there to a perfect score" if facts.near_chance(section) else ""
    return f"A constant guess has {wording.metric(section.chance, section.metric)}{own}{near}."
