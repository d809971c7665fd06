"""`suite.speed` on models of one's own."""

from __future__ import annotations

import json

from suite import speed


def test_models_of_ones_own_are_measured_beside_the_suites(tmp_path, capsys):
    own = ["docs.examples.gru:GRU", "tests.plugins.tiny:Leaky"]
    words = ["--models", ",".join([*own, "tanh"]), "--shapes", "har2", "--engines", "loop,fused", "--seconds", "0.1"]
    assert speed.main([*words, "--threads", "1", "--results-dir", str(tmp_path), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {(row["model"], row["engine"]): row for row in rows}
    assert set(found) == {(own[0], "loop"), (own[0], "fused"), (own[1], "loop"), ("tanh", "loop"), ("tanh", "fused")}
    assert found[own[0], "fused"]["ratio_to_loop"] > 0 and found[own[0], "fused"]["gemm_ms"] > 0
    assert found[own[1], "loop"]["gemm_ms"] is None  # it has no cell, so nothing is known of its products
    assert speed.main([*words, "--threads", "1", "--results-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80 and "\N{HORIZONTAL ELLIPSIS}s.examples.gru:GRU" in out


def test_a_name_that_is_no_model_is_refused(tmp_path, capsys):
    for name, said in (
        ("my.pkg:MyRNN", "cannot be imported"),
        ("my.pkg.MyRNN", "got no colon"),
        ("lsmt", "did you mean"),
    ):
        assert speed.main(["--models", name, "--results-dir", str(tmp_path)]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
