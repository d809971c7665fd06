"""What stands beside what in a leaderboard: sections, groups, labels, ranks, notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from suite.report.evidence.entries import entry
from suite.report.evidence.groups import OWN_BUDGET
from suite.report.evidence.sections import sections
from suite.report.tables import comparisons, leaderboard, notes, targets
from tests import report_records as make


def entries(*records):
    return [entry(record) for record in records]


def scored(value, **changes):
    """A record of ``make.run(**changes)`` whose test metric is ``value``."""
    status = changes.pop("status", "done")
    sources = changes.pop("sources", None)
    made = make.record(make.run(**changes), status=status, sources=sources)
    made["metrics"]["test"] = value
    return made


def test_bundled_digits_never_share_a_table_with_mnist():
    found = sections(entries(make.record(make.run()), make.record(make.run(options={"data": "digits5k"}))))
    assert [len(section.groups) for section in found] == [1, 1]
    assert {section.name for section in found} == {"psmnist (data=mnist)", "psmnist (data=digits5k)"}


@pytest.mark.parametrize(
    "change",
    [{"track": "tuned"}, {"options": {"permutation_seed": 1}}, {"max_seconds": 60.0}, {"task": "smnist"}],
)
def test_what_does_not_compare_has_a_table_of_its_own(change):
    found = sections(entries(make.record(make.run()), make.record(make.run(model="lstm", **change))))
    assert len(found) == 2


def test_epochs_of_recipes_share_a_table_and_epochs_set_by_hand_do_not():
    by_hand = {"epochs": "set: on the command line"}
    own = [make.record(make.run(epochs=12)), make.record(make.run(model="lstm", epochs=20))]
    hand = [make.record(make.run(model="tanh", epochs=n), sources=by_hand) for n in (3, 4)]
    found = sections(entries(*own, *hand))
    assert [(section.budget, len(section.groups)) for section in found] == [
        (OWN_BUDGET, 2),
        ("4 epochs", 1),  # the longer training first
        ("3 epochs", 1),
    ]


def test_seconds_compare_on_one_machine_only():
    same = [make.record(make.run(model=m, max_seconds=60.0)) for m in ("cornn", "lstm")]
    other = make.record(make.run(model="tanh", max_seconds=60.0), cpu="Another CPU")
    assert sorted(len(section.groups) for section in sections(entries(*same, other))) == [1, 2]


def test_seeds_on_another_machine_are_another_group_where_seconds_limit_the_training():
    cpus = ("Fast CPU", "Slow CPU", "Slow CPU")
    timed = [make.record(make.run(seed=s, max_seconds=60.0), cpu=cpu) for s, cpu in enumerate(cpus)]
    counts = {
        section.machine: [len(group.entries) for group in section.groups] for section in sections(entries(*timed))
    }
    assert counts == {"Fast CPU, 1 thread": [1], "Slow CPU, 1 thread": [2]}
    free = [make.record(make.run(seed=s), cpu=cpu) for s, cpu in enumerate(cpus)]
    assert [len(group.entries) for section in sections(entries(*free)) for group in section.groups] == [3]


def test_epochs_count_as_set_by_hand_where_every_seed_says_so():
    by_hand = [make.record(make.run(seed=s), sources={"epochs": "set: on the command line"}) for s in range(2)]
    own = make.record(make.run(seed=2))
    assert [section.budget for section in sections(entries(*by_hand))] == ["12 epochs"]
    assert [section.budget for section in sections(entries(*by_hand, own))] == [OWN_BUDGET]


def test_an_evaluation_batch_set_by_hand_is_another_recipe_where_padding_is_read():
    told = {"eval_batch_size": "set: on the command line"}
    for readout, keys in (("padded", ["eval_batch_size"]), ("valid", [])):
        made = make.record(
            make.run(task="imdb", options={"readout": readout}, recipe={"eval_batch_size": 1}), sources=told
        )
        assert sections(entries(made))[0].groups[0].by_hand == keys


def test_sections_whose_names_differ_in_signs_alone_have_files_of_their_own():
    made = [make.record(make.run(options={"shift": shift})) for shift in (-1, 1)]
    assert len({section.slug for section in sections(entries(*made))}) == 2


def test_models_with_one_title_are_told_apart():
    made = [scored(0.9 - 0.1 * i, model=m, seed=s) for i, m in enumerate(("lstm", "LSTM", "tanh")) for s in range(3)]
    (section,) = sections(entries(*made))
    assert sorted(group.label for group in section.groups) == ["LSTM (LSTM)", "LSTM (lstm)", "tanh RNN"]
    assert len(section.pairs) == 3


def test_models_without_a_common_seed_are_not_ranked():
    made = [scored(0.9, model=m, seed=2 * i + s) for i, m in enumerate(("cornn", "lstm", "tanh")) for s in (0, 1)]
    (section,) = sections(entries(*made))
    assert section.ranked == [] and not any(group.complete for group in section.groups)
    assert "no seed is held by most of the models: not ranked" in notes.notes(section)


def test_recipes_of_one_model_are_kept_apart_and_labelled_by_what_differs():
    a = [make.record(make.run(seed=s)) for s in range(3)]
    b = [make.record(make.run(seed=s, recipe={"lr": 0.01})) for s in range(2)]
    (section,) = sections(entries(*a, *b))
    labels = {group.label: len(group.entries) for group in section.groups}
    assert labels == {"coRNN [lr=0.003]": 3, "coRNN [lr=0.01]": 2}
    assert [group.primary for group in section.groups if group.label == "coRNN [lr=0.003]"] == [True]
    assert sum(group.primary for group in section.groups) == 1


def test_what_a_recipe_leaves_out_has_its_value_in_a_label():
    sgd = {"optimizer": "sgd"}
    runs = [make.run(), make.run(recipe=sgd), make.run(recipe={**sgd, "sgd_momentum": 0.9, "num_layers": 2})]
    (section,) = sections(entries(*map(make.record, runs)))
    adam, plain, moving = sorted((group.label for group in section.groups), key=len)
    assert adam == "coRNN [num_layers=1, optimizer=adam]"
    assert plain == "coRNN [num_layers=1, optimizer=sgd, sgd_momentum=0]"
    assert moving == "coRNN [num_layers=2, optimizer=sgd, sgd_momentum=0.9]"


def test_a_recipe_set_by_hand_says_so_where_it_stands_alone():
    changed = make.record(
        make.run(recipe={"epsilon": 2.0}), sources={"epsilon": "set: by hand", "hidden_size": "set: H"}
    )
    (section,) = sections(entries(changed))
    assert [group.label for group in section.groups] == ["coRNN [epsilon=2]"]


def test_the_primary_recipe_is_chosen_on_validation_never_on_test():
    good_test = make.record(make.run(recipe={"lr": 0.1}))
    good_test["metrics"] |= {"test": 0.99, "valid": 0.5}
    good_valid = make.record(make.run(recipe={"lr": 0.2}))
    good_valid["metrics"] |= {"test": 0.4, "valid": 0.9}
    (section,) = sections(entries(good_test, good_valid))
    assert [group.run.recipe["lr"] for group in section.groups if group.primary] == [0.2]


def grid_of(values: Mapping[str, list[float | None]]):
    made = []
    for model, scores in values.items():
        for seed, score in enumerate(scores):
            status = "diverged" if score is None else "done"
            made.append(scored(score, model=model, seed=seed, status=status))
    return sections(entries(*made))[0]


def test_ranks_follow_the_mean_and_ties_share():
    section = grid_of({"cornn": [0.9, 0.8], "lstm": [0.95, 0.75], "tanh": [0.3, 0.2]})
    assert {group.run.model: group.rank for group in section.groups} == {"cornn": 1.5, "lstm": 1.5, "tanh": 3.0}


def test_pairs_on_an_error_prefer_the_lower_one():
    made = [
        scored(v + s / 1000, model=m, seed=s, task="adding")
        for m, v in (("cornn", 0.01), ("lstm", 0.1))
        for s in range(10)
    ]
    (pair,) = sections(entries(*made))[0].pairs
    assert (pair.a, pair.improvement) == ("coRNN", 1.0) and "coRNN" in pair.verdict
    (row,) = comparisons.pairs_table(sections(entries(*made))[0]).rows
    assert row["difference_text"].startswith("−")


def test_of_several_recipes_the_one_with_the_lower_validation_error_is_primary():
    made = [make.record(make.run(task="adding", recipe={"lr": lr})) for lr in (0.1, 0.2)]
    for record, valid in zip(made, (0.01, 0.1)):
        record["metrics"]["valid"] = valid
    (section,) = sections(entries(*made))
    assert [group.run.recipe["lr"] for group in section.groups if group.primary] == [0.1]


def test_lower_is_better_for_errors():
    made = [scored(v, model=m, seed=s, task="adding") for m, v in (("cornn", 0.001), ("lstm", 0.1)) for s in (0, 1)]
    (section,) = sections(entries(*made))
    assert [group.run.model for group in section.groups] == ["cornn", "lstm"]


def test_a_diverged_run_counts_as_a_constant_guess_in_the_rank_and_not_in_the_mean():
    section = grid_of({"cornn": [0.9, 0.9, None], "lstm": [0.7, 0.7, 0.7]})
    cornn = next(group for group in section.groups if group.run.model == "cornn")
    assert cornn.spread.mean == pytest.approx(0.9) and cornn.spread.n == 2
    row = leaderboard.row(cornn, section)
    assert row["penalised_mean"] == pytest.approx((0.9 + 0.9 + 0.1135) / 3)
    assert cornn.rank == 2 and "1 diverged" in row["seeds_text"]


def test_losing_a_run_is_never_better_than_finishing_it_below_a_constant_guess():
    section = grid_of({"cornn": [None, None], "lstm": [0.05, 0.06], "tanh": [0.9, 0.9]})
    assert {group.run.model: group.rank for group in section.groups} == {"tanh": 1, "lstm": 2, "cornn": 3}


def test_a_single_bad_run_of_an_unranked_model_is_no_penalty():
    section = grid_of({"cornn": [0.9, None], "lstm": [0.3, 0.7], "tanh": [0.05]})
    cornn = next(group for group in section.groups if group.run.model == "cornn")
    assert leaderboard.row(cornn, section)["penalised_mean"] == pytest.approx((0.9 + 0.1135) / 2)


def test_where_no_run_finished_the_row_stands_last():
    lost = scored(None, task="adding", model="cornn", status="diverged")
    (section,) = sections(entries(lost, scored(0.3, task="adding", model="lstm")))
    assert [group.run.model for group in section.groups] == ["lstm", "cornn"]


def test_a_recipe_that_loses_runs_does_not_stand_for_its_model():
    good = [make.record(make.run(seed=seed, recipe={"lr": 0.1})) for seed in range(3)]
    bad = [make.record(make.run(seed=0, recipe={"lr": 0.2}))]
    bad += [make.record(make.run(seed=seed, recipe={"lr": 0.2}), status="diverged") for seed in (1, 2)]
    for record, valid in zip(good + bad[:1], (0.8, 0.8, 0.8, 0.99)):
        record["metrics"]["valid"] = valid
    (section,) = sections(entries(*good, *bad))
    assert [group.run.recipe["lr"] for group in section.groups if group.primary] == [0.1]


def test_incomplete_groups_are_shown_marked_and_not_ranked():
    section = grid_of({"cornn": [0.9] * 5, "lstm": [0.8] * 5, "tanh": [0.99] * 3})
    tanh = next(group for group in section.groups if group.run.model == "tanh")
    assert tanh.rank is None and not tanh.complete
    assert section.groups[-1] is tanh
    assert leaderboard.row(tanh, section)["seeds_text"] == "3 †"
    assert "lacks seeds of this table (0-4)" in notes.notes(section)


def test_extra_seeds_of_one_model_do_not_make_the_others_incomplete():
    section = grid_of({"cornn": [0.9] * 10, "lstm": [0.8] * 5, "tanh": [0.3] * 5})
    assert all(group.complete for group in section.groups) and section.seeds == set(range(5))


def test_one_seed_has_no_rank_and_no_interval():
    section = grid_of({"cornn": [0.9], "lstm": [0.8]})
    assert section.ranked == []
    rows = leaderboard.table(section).rows
    assert {(row["rank_text"], row["interval_text"], row["sd_text"]) for row in rows} == {("–", "–", "–")}


def test_a_recipe_set_by_hand_does_not_take_the_place_of_the_models_own():
    """Though it is better on validation data; with more seeds it stands for the model."""
    own = [make.record(make.run(seed=seed)) for seed in range(2)]
    tried = [
        make.record(make.run(seed=seed, recipe={"lr": 0.1}), sources={"lr": "set: on the command line"})
        for seed in range(3)
    ]
    for record in tried:
        record["metrics"]["valid"] = 0.999

    def chosen(*records):
        (section,) = sections(entries(*records))
        return [group.run.recipe["lr"] for group in section.primaries]

    assert chosen(*own, *tried[:2]) == [0.003] and chosen(*own, *tried) == [0.1]


def test_a_newer_version_stands_for_a_model_whatever_its_seeds():
    old = [make.record(make.run(seed=s)) for s in range(3)]
    new = make.record(replace(make.run(), model_version=2))
    (section,) = sections(entries(*old, new))
    assert [group.run.model_version for group in section.groups if group.primary] == [2]


def test_a_seed_that_half_of_the_models_hold_takes_no_rank_from_the_others():
    """A grid that stopped on the way, or one more seed of two of four models, whichever they are."""
    section = grid_of({"cornn": [0.9, 0.8, 0.7], "lstm": [0.8, 0.7]})
    assert section.seeds == {0, 1} and [group.rank for group in section.groups] == [1, 2]
    four = grid_of({"cornn": [0.9, 0.9], "exprnn": [0.8, 0.8], "lstm": [0.6, 0.6, 0.6], "tanh": [0.5, 0.5, 0.5]})
    assert [group.run.model for group in four.ranked] == ["cornn", "exprnn", "lstm", "tanh"]


def test_one_model_alone_has_no_rank_and_says_so():
    section = grid_of({"cornn": [0.9, 0.8]})
    assert section.ranked == [] and "One model alone has no rank." in notes.notes(section)
    assert "alone" not in notes.notes(grid_of({"cornn": [0.9, 0.8], "lstm": [0.7, 0.6]}))


def test_pairs_without_two_seeds_in_common_make_no_table():
    assert comparisons.pairs_table(grid_of({"cornn": [0.9], "lstm": [0.8]})) is None
    assert comparisons.pairs_table(grid_of({"cornn": [0.9, 0.8], "lstm": [0.8, 0.7]})) is not None


def test_failed_runs_are_counted_from_the_failures_folder():
    done = [make.record(make.run(seed=s)) for s in range(2)]
    failed = [make.record(make.run(seed=s), status="failed") for s in (1, 2)]  # seed 1 was done by a later try
    (section,) = sections(entries(*done), entries(*failed))
    assert section.groups[0].failed == [2]
    assert "1 failed" in leaderboard.row(section.groups[0], section)["seeds_text"]


def test_what_all_rows_say_goes_below_a_pages_table_and_stays_in_its_files():
    section = grid_of({"cornn": [0.9], "lstm": [0.8]})
    full = leaderboard.table(section)
    page = leaderboard.spoken(full)
    assert "loss" in {column.key for column in page.columns}
    assert {"engine", "machine"} <= {column.key for column in full.columns}
    assert not {"engine", "machine"} & {column.key for column in page.columns}
    assert page.note.endswith("All rows: engine fused, machine Example CPU 2.5 GHz, 1 thread.")
    mixed = entries(make.record(make.run(seed=0)), make.record(make.run(seed=1), engine="native"))
    page = leaderboard.spoken(leaderboard.table(sections(mixed)[0]))
    assert "machine" not in {column.key for column in page.columns}
    two = entries(make.record(make.run("lstm")), make.record(make.run("cornn"), engine="native"))
    page = leaderboard.spoken(leaderboard.table(sections(two)[0]))
    assert "engine" in {column.key for column in page.columns} and "engine" not in page.note


def test_a_loss_that_is_the_score_itself_is_no_column_of_a_page():
    one = make.record(make.run(task="adding"))
    one["metrics"] |= {"test": 0.0123456, "test_loss": 0.0123457}  # a loss is summed over batches
    full = leaderboard.table(sections(entries(one))[0])
    assert "loss" in {column.key for column in full.columns}
    assert "loss" not in {column.key for column in leaderboard.spoken(full).columns}


def test_the_area_of_an_error_has_an_interval_that_ends_at_zero():
    made = [make.record(make.run(task="adding", seed=seed)) for seed in range(3)]
    for record, height in zip(made, (0.001, 0.002, 0.16)):
        for row in record["curve"]:
            row["valid"] = height
    (row,) = targets.table(sections(entries(*made))[0]).rows
    assert row["area_low"] == 0.0 < row["area"] < row["area_high"]


def test_unequal_sizes_are_said():
    sizes = (("cornn", 64), ("lstm", 256))
    made = [make.record(make.run(model, seed=s, recipe={"hidden_size": h})) for model, h in sizes for s in (0, 1)]
    (section,) = sections(entries(*made))
    assert "Sizes are not matched" in notes.notes(section)
