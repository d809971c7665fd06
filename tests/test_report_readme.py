"""The summary in a README: what it says, where it goes, and that the committed one is that of the committed records."""

from __future__ import annotations

import pytest

from suite.report import style
from suite.report.__main__ import main
from suite.report.evidence.entries import entry
from suite.report.evidence.sections import sections
from suite.report.site import readme
from tests import report_records as make


def scored(value, *, status="done", **changes):
    made = make.record(make.run(**changes), status=status)
    made["metrics"]["test"] = value if status == "done" else None
    return entry(made)


def rows(*entries):
    text = readme.digest(sections(list(entries), []))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_row_a_section_and_a_column_a_model():
    head, _, psmnist = rows(
        *(scored(value, seed=seed) for seed, value in enumerate((0.96, 0.97, 0.98))),
        scored(0.9, model="lstm"),
        scored(None, model="tanh", status="diverged"),
        scored(None, model="tanh", status="diverged", seed=1),
    )[:3]
    assert head == ["task", "constant guess", "coRNN", "LSTM", "tanh RNN"]
    assert psmnist[0].startswith("psmnist (") and psmnist[0].endswith("H=128, 12 epochs")
    assert psmnist[1:] == ["↑ 11.35", "97.00 ± 1.00 (3)", "90.00 (1)", "– (0; 2 lost)"]


def test_only_the_paper_track_is_told():
    assert len(rows(scored(0.9), scored(0.95, track="tuned"))) >= 3
    assert "95.00" not in readme.digest(sections([scored(0.9), scored(0.95, track="tuned")], []))


def budgets(found):
    return [row[0].rsplit(", ")[-1] for row in found[2:] if row[0].startswith("psmnist")]


def test_recipes_changed_by_hand_are_for_the_pages():
    changed = make.record(make.run(recipe={"epsilon": 2.0}), sources={"epsilon": "set: by hand"})
    assert rows(scored(0.9, model="lstm"), entry(changed))[0] == ["task", "constant guess", "LSTM"]


def test_a_better_recipe_set_by_hand_does_not_hide_the_models_own():
    changed = make.record(make.run(recipe={"epsilon": 2.0}), sources={"epsilon": "set: by hand"})
    changed["metrics"] |= {"valid": 0.999, "test": 0.999}
    options = {"train_examples": None, "test_examples": None}
    found = rows(scored(0.9), entry(changed), scored(0.8, model="lstm"))
    assert found[0] == ["task", "constant guess", "coRNN", "LSTM"] and found[2][2:] == ["90.00 (1)", "80.00 (1)"]
    har2 = {"task": "har2", "options": options | {"split": "random"}, "recipe": {"hidden_size": 64}}
    changed = make.record(
        make.run(**har2 | {"recipe": {"hidden_size": 64, "epsilon": 2.0}}), sources={"epsilon": "set: x"}
    )
    changed["metrics"] |= {"valid": 0.999, "test": 0.999}
    assert rows(scored(0.9, **har2), entry(changed))[-1][2:4] == ["90.00 (1)", "97.20"]


def test_shorter_runs_are_for_the_pages_where_every_model_of_their_row_has_longer_ones():
    def made(model="lstm", epochs=2, **changes):
        return entry(make.record(make.run(model, epochs=epochs, **changes), sources={"epochs": "set: by hand"}))

    long, short, alone = made(epochs=12), made(), made("tanh")
    wider, second = made(recipe={"hidden_size": 256}), made(seed=1)
    assert budgets(rows(long, short)) == ["12 of 120 epochs"]
    assert sorted(budgets(rows(long, short, alone))) == ["12 of 120 epochs", "2 of 120 epochs"]
    assert sorted(budgets(rows(long, wider))) == ["12 of 120 epochs", "2 of 120 epochs"]
    assert sorted(budgets(rows(long, short, second))) == ["12 of 120 epochs", "2 of 120 epochs"]


def test_it_begins_with_how_much_of_the_protocol_was_run_and_what_was_told_apart():
    short = make.record(make.run("tanh", epochs=2), sources={"epochs": "set: by hand"})
    few = [scored(0.9 + seed / 1000, seed=seed) for seed in range(3)]
    text = readme.digest(sections([*few, scored(0.8, model="lstm"), entry(short)], []))
    assert text.startswith("Runs: 5, 11.8 min of training; with all epochs of their protocol: 0 (none). The others")
    assert "set by hand too): 3; with one seed, which says nothing of the next one: 2. Pairs of models with" in text
    assert "for a corrected test: 0; told" in text
    many = [scored(0.9 + seed / 1000, seed=seed) for seed in range(10)]
    many += [scored(0.8 + seed / 1000, seed=seed, model="lstm") for seed in range(10)]
    assert "enough for a corrected test: 1; told apart by it: 1." in readme.digest(sections(many, []))
    full = readme.digest(sections([scored(0.9, epochs=120), scored(0.9, track="tuned")], []))
    assert full.startswith("Runs: 1, 22.0 min of training; with all epochs of their protocol: 1 (psmnist).")
    quick = make.record(make.run(epochs=3), preset="quick")
    assert "protocol: 0 (none)" in readme.digest(sections([entry(quick)], []))


def test_means_of_errors_say_how_many_seeds_solved_the_task():
    adding = {"task": "adding"}
    _, _, row = rows(*(scored(value, seed=seed, **adding) for seed, value in enumerate((0.0001, 0.05, 0.16))))[:3]
    assert row[1] == "↓ 0.167" and row[2].endswith("(3; 2 solved)")


@pytest.mark.parametrize("better", [True, False])
def test_a_recipe_set_by_hand_is_named_where_it_does_better(better):
    own = [make.record(make.run(task="adding", seed=seed)) for seed in range(2)]
    changed = []
    for seed in range(2):
        run = make.run(task="adding", seed=seed, recipe={"epsilon": 2.0})
        changed.append(make.record(run, sources={"epsilon": "set: by hand"}))
        changed[-1]["metrics"] |= {"valid": 1e-5 if better else 9.0, "test": 0.002}
    text = readme.digest(sections([entry(made) for made in own + changed], []))
    assert ("Set by hand, and better on validation data: adding (" in text) is better
    assert ("coRNN [epsilon=2]: 0.00200 ± 0 (2; 2 solved)." in text) is better
    alone = readme.digest(sections([entry(made) for made in [*own, changed[0]]], []))
    assert "Set by hand, and" not in alone  # fewer seeds than the model's own
    lucky = make.record(make.run(task="adding", recipe={"epsilon": 3.0}), sources={"epsilon": "set: by hand"})
    lucky["metrics"] |= {"valid": 1e-9}
    again = readme.digest(sections([entry(made) for made in [*own, *changed, lucky]], []))
    assert ("coRNN [epsilon=2]" in again) is better  # one lucky seed of another recipe does not hide it
    longer = [make.record(make.run(task="adding", seed=seed, epochs=50)) for seed in range(2)]
    for made in longer:
        made["sources"]["epochs"] = "set: by hand"
    assert "Set by hand, and" in again or not better
    outdone = [make.record(make.run(task="adding", seed=seed, epochs=5)) for seed in range(2)] + [
        make.record(make.run(task="adding", seed=seed, epochs=5, recipe={"epsilon": 2.0})) for seed in range(2)
    ]
    for made in outdone:
        made["sources"]["epochs"] = "set: by hand"
    for made in outdone[2:]:
        made["sources"]["epsilon"] = "set: by hand"
        made["metrics"]["valid"] = 1e-7
    text = readme.digest(sections([entry(made) for made in longer + outdone], []))
    assert "Set by hand, and" not in text  # of a row that is not in the table


def test_published_recipes_stand_beside_ours_with_the_reason():
    options = {"train_examples": None, "test_examples": None, "split": "random"}
    found = rows(scored(0.9, task="har2", options=options, recipe={"hidden_size": 64}))
    assert found[-1][1:5] == ["coRNN", "90.00 (1)", "97.20", "not comparable"]
    assert "split and normalisation not published" in found[-1][5]


def test_of_one_data_variant_the_longest_training_alone_stands_beside_the_published_figure():
    har2 = {"task": "har2", "options": {"train_examples": None, "test_examples": None, "split": "random"}}
    short, longer, other = (
        entry(make.record(make.run(**har2, epochs=epochs, recipe={"hidden_size": units}), sources={"epochs": "set: x"}))
        for epochs, units in ((2, 64), (12, 64), (2, 32))
    )
    wide = entry(make.record(make.run(**har2, epochs=250, recipe={"hidden_size": 32})))
    lines = [row for row in rows(short, longer, other, wide) if row[-2:-1] == ["not comparable"]]
    assert len(lines) == 1 and "H=64, 12 of 250 epochs" in lines[0][0]  # of the published size, the longest


def test_the_summary_goes_between_the_marks_and_nowhere_else(tmp_path):
    file = tmp_path / "README.md"
    file.write_text(f"# before\n\n{readme.START}\nold\n{readme.END}\n\nafter\n")
    for _ in range(2):
        readme.insert(file, "new\n")
        assert file.read_text() == f"# before\n\n{readme.START}\n\nnew\n\n{readme.END}\n\nafter\n"


@pytest.mark.parametrize("text", [None, "no marks", readme.END + readme.START, readme.START])
def test_a_file_without_marks_is_one_line_and_left_alone(tmp_path, capsys, text):
    file = tmp_path / "README.md"
    if text is not None:
        file.write_text(text)
    make.fill(tmp_path / "results", models=("cornn",), tasks=("psmnist",), seeds=range(1))
    words = ["--results-dir", tmp_path / "results", "--reports-dir", tmp_path / "reports", "--readme", file]
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert "--readme" in error and "README.md" in error and len(error.strip().splitlines()) == 1
    assert text is None or file.read_text() == text


def test_the_committed_summary_and_leaderboard_are_those_of_the_committed_records(project, tmp_path, monkeypatch):
    monkeypatch.setattr(style, "svg", lambda figure: '<svg viewBox="0 0 1 1"/>')  # neither holds a figure
    copy = tmp_path / "README.md"
    copy.write_text((project / "README.md").read_text())
    words = ["--results-dir", project / "results", "--reports-dir", tmp_path, "--readme", copy, "--format", "none"]
    assert main([str(word) for word in words]) == 0
    hint = "make report, and commit README.md and reports/"
    assert copy.read_text() == (project / "README.md").read_text(), hint
    assert (tmp_path / "leaderboard.md").read_text() == (project / "reports" / "leaderboard.md").read_text(), hint
