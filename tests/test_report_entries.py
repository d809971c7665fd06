"""What the report reads out of records: shared machines, parts that ran elsewhere, failures, protocols, sources."""

from __future__ import annotations

import pytest

from suite import names, recipes
from suite.plan import Request, expand
from suite.report import content, wording
from suite.report.evidence.entries import entry, read, read_failures
from suite.report.evidence.groups import OWN_BUDGET
from suite.report.evidence.sections import sections
from suite.report.tables import leaderboard, notes, overview, targets
from suite.store import Store
from tests import report_records as make


def entries(*records):
    return [entry(record) for record in records]


def test_times_of_a_shared_machine_are_marked():
    made = [make.record(make.run(seed=0), shared_device=True), make.record(make.run("lstm", seed=0))]
    found = targets.table(sections(entries(*made))[0])
    marked = {row["model"]: row["seconds_text"].endswith("*") for row in found.rows}
    assert marked == {"cornn": True, "lstm": False} and "upper bounds" in found.note


@pytest.mark.parametrize(
    "higher,chance,best,last,fell",
    [
        (True, 0.1, 0.94, 0.31, True),
        (True, 0.1, 0.94, 0.53, False),
        (True, 0.1, 0.27, 0.10, False),  # it never went a fifth of the way
        (True, 0.1, 0.94, None, False),
        (True, None, 0.94, 0.31, False),
        (False, 0.167, 0.001, 0.12, True),
        (False, 0.167, 0.001, 0.05, False),
        (False, 0.167, 0.150, 0.30, False),
    ],
)
def test_a_seed_that_fell_lost_half_of_what_its_best_epoch_was_better_than_chance(higher, chance, best, last, fell):
    record = make.record(make.run(seed=0))
    record["metrics"] |= {"higher_is_better": higher, "chance": chance, "valid": best}
    record["metrics"]["name"] = "accuracy" if higher else "mse"
    record["curve"][-1]["valid"] = last
    assert entry(record).fell is fell


def test_seeds_that_fell_are_counted_in_the_tables():
    records = [make.record(make.run(seed=seed)) for seed in range(3)]
    records[1]["curve"][-1]["valid"] = records[1]["metrics"]["chance"]
    (section,) = sections(entries(*records))
    (row,) = leaderboard.table(section).rows
    assert (row["fell"], row["seeds_text"]) == (1, "3, 1 fell")
    glance = overview.table([section], rest="elsewhere")
    assert glance.rows[0]["cornn_fell"] == 1 and glance.rows[0]["cornn_text"].endswith(" (3; 1 fell)")
    assert "Fell: by the last epoch" in glance.note


def test_runs_that_overlap_on_one_host_share_it(tmp_path):
    times = {0: ("10:00:00", "10:30:00"), 1: ("10:29:59", "10:40:00"), 2: ("10:40:00", "10:50:00")}
    for model, host in (("cornn", "one"), ("tanh", "another")):
        for seed, (start, end) in times.items():
            where = {"started": f"2026-01-05T{start}Z", "finished": f"2026-01-05T{end}Z"}
            Store(tmp_path).put(
                make.record(make.run(model, seed=seed), host=host if model == "cornn" else f"{seed}", **where)
            )
    Store(tmp_path).put(make.record(make.run("lstm", seed=0), host="long", started="2026-01-05T10:00:00Z"))
    inside = {"started": "2026-01-05T10:05:00Z", "finished": "2026-01-05T10:06:00Z"}
    Store(tmp_path).put(make.record(make.run("lstm", seed=1), host="long", **inside))
    got = {(one.run.model, one.run.seed): one.shared for one in read(tmp_path)}
    assert got == {("cornn", seed): seed < 2 for seed in times} | {("tanh", seed): False for seed in times} | {
        ("lstm", 0): True, ("lstm", 1): True,
    }  # fmt: skip


def test_a_run_that_went_on_elsewhere_has_mixed_times_not_upper_bounds():
    part = {"gpu": None, "engine": "fused", "shared_device": False, "seeds_together": 1}
    other = [part | {"cpu": "Another CPU", "threads": 1}]
    moved, alone = entries(make.record(make.run(seed=0), legs=other), make.record(make.run(seed=1)))
    assert (moved.mixed, moved.shared, moved.machine) == (True, False, "several machines")
    assert (alone.mixed, alone.machine) == (False, "Example CPU 2.5 GHz, 1 thread")
    (more,) = entries(make.record(make.run(), legs=[part | {"cpu": "Example CPU 2.5 GHz", "threads": 2}]))
    assert (more.mixed, more.machine) == (True, "Example CPU 2.5 GHz, 1 and 2 threads")
    words = notes.notes(sections([moved, alone])[0])
    assert "their times are mixed" in words and "upper bounds" not in words


def test_seeds_side_by_side_have_their_share_of_the_time():
    one = make.record(make.run(seed=0), seeds_together=4)
    whole, curve = dict(one["seconds"]), [row["seconds"] for row in one["curve"]]
    (section,) = sections([entry(one)])
    (shared,) = section.groups[0].entries
    assert shared.seconds("train") == whole["train"] / 4 and shared.clock.tolist() == [s / 4 for s in curve]
    row = leaderboard.row(section.groups[0], section)
    assert (row["train_seconds"], row["step_ms"]) == (whole["train"] / 4, 1000 * whole["step_median"] / 4)
    assert row["engine"] == "fused-x4" and not row["shared_device"]
    assert "their share of the time of all N" in notes.notes(section)
    reached = targets.reached(shared, -1.0, higher_is_better=True)
    assert reached is not None and reached[0] == curve[0] / 4


def test_a_run_that_failed_twice_is_no_copy(tmp_path):
    store = Store(tmp_path)
    failed = make.record(make.run(), status="failed")
    paths = {store.put(failed), store.put(failed)}
    assert len(paths) == len(read_failures(tmp_path)) == 2


@pytest.mark.parametrize("task", sorted(wording.TASK_TITLES))
def test_every_option_that_shortens_a_task_departs_from_its_protocol(task):
    plugin = names.resolve("task", task)
    options = {name: parameter.default for name, parameter in plugin.schema.items()} | dict(plugin.fixed)
    assert content.departures(task, options) == []
    for name in set(plugin.schema) - {"vectors", "permutation_seed"}:  # smnist permutes nothing; GloVe is optional
        assert content.departures(task, options | {name: 7}) == [name], name


@pytest.mark.parametrize("task", sorted(wording.TASK_TITLES))
def test_a_protocols_epochs_are_those_of_the_recipe(task):
    assert content.task(task)["epochs"] == recipes.tables(task)[1]["default"]["epochs"]


def test_a_recipe_published_for_another_length_is_adapted():
    made = []
    for length in (100, 500):
        (one,) = expand(Request(models=("cornn",), tasks=("adding",), sets=(("adding", "length", length),)))
        made.append(make.record(one.run, sources=one.sources))
    found = sections(entries(*made))
    kinds = {section.options["length"]: leaderboard.recipe_kind(section.groups[0]) for section in found}
    assert kinds == {100: "published", 500: "adapted"}


def test_a_shorter_budget_says_of_how_many_epochs():
    run = make.run("cornn", "har2", epochs=12)
    (by_hand,) = sections(entries(make.record(run, sources={"epochs": "set: on the command line"})))
    (own,) = sections(entries(make.record(run)))
    assert (by_hand.length, own.length) == ("12 of 250 epochs", OWN_BUDGET)
    assert leaderboard.heading(by_hand).endswith("12 of 250 epochs")
    words = [leaderboard.row(one.groups[0], one)["length_text"] for one in (by_hand, own)]
    assert words == ["12 of 250", str(own.groups[0].run.budget.epochs)]
