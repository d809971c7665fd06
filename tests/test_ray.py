"""The Ray executor on a real cluster of several nodes on this machine: same records as inline, whatever is lost."""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace

import pytest

from suite.errors import UsageError
from suite.plan import Request, expand
from suite.record import load
from suite.store import Store
from suite.work.claims import Claims
from suite.work.executors.cluster import GIB, code, gpu_share, gpu_shares, knock
from suite.work.executors.retries import RETRIES, Retries
from suite.work.job import Progress, Settings, Stopped
from suite.work.stopping import Stopper
from suite.work.todo import Todo
from suite.work.weights import load_trained
from tests.harness.grids import argv, assert_complete, planned, undisturbed
from tests.weights.common import score_of

FAULT = "tests.plugins.faults"
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
ENV = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


# ---- what needs no cluster -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peak", "share"),
    [(None, 1), (0, 1), (1, 0.125), (4 * GIB, 0.125), (10 * GIB, 0.25), (20 * GIB, 0.5), (60 * GIB, 1), (900 * GIB, 1)],
)
def test_a_gpu_is_shared_by_memory(peak, share):
    assert gpu_share(peak, 80 * GIB) == share


def test_shares_are_each_groups_own_and_none_on_cpus():
    cpu = planned(seeds=(0, 1))
    gpu = expand(Request(models=("cornn", "lstm"), tasks=("adding",), seeds=(0, 1), device_kind="cuda"))
    assert gpu_shares(cpu, {}, 80 * GIB) == {}
    groups = [one.run.group for one in gpu[::2]]
    assert gpu_shares(gpu, {groups[0]: GIB}, 80 * GIB) == {groups[0]: 0.125, groups[1]: 1.0}


def test_the_code_of_plugins_travels_and_libraries_do_not(tmp_path, monkeypatch):
    (tmp_path / "one_file_plugin.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = code(["cornn", "adding", "tests.plugins.tiny:Leaky", "one_file_plugin:X", "torch.nn:LSTM"])
    assert [path.rpartition("/")[2] for path in found] == ["models", "tasks", "suite", "tests", "one_file_plugin.py"]


@pytest.mark.parametrize("address", ["ray://head:10001", "head", "head:port", ":", "127.0.0.1:99999999"])
def test_an_address_that_is_none_is_one_line(address):
    with pytest.raises(UsageError, match=r"wanted auto or HOST:PORT|no cluster at"):
        knock(address)


def test_deaths_are_counted_by_run_and_kind(capsys):
    (one,) = planned(seeds=(0,))
    from suite.work.job import Finished, Job

    job, retries = Job((one.run,), one.sources, Settings(), ("c",)), Retries()
    for _ in range(RETRIES):
        assert not list(retries.settle(job, {one.run.id}, "lightning", stopped=False))
        assert retries.again.pop().runs == job.runs
    assert not list(retries.settle(job, {one.run.id}, "its node is gone", stopped=False, most=20))
    assert [type(e) for e in retries.settle(job, {one.run.id}, "lightning", stopped=True)] == [Stopped]
    (event,) = retries.settle(job, {one.run.id}, "lightning", stopped=False)
    assert isinstance(event, Finished) and event.record["error"]["message"] == "worker died 3 times: lightning"
    assert not list(retries.settle(job, set(), "", stopped=False))
    assert capsys.readouterr().err.count("trying again") == 3


# ---- a cluster -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The file that ``Gated`` runs wait for on the nodes."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def cluster(gate):
    """A head without CPUs and two nodes of one CPU."""
    pytest.importorskip("ray", reason="ray is not installed")
    before = dict(os.environ)
    os.environ.update({**ENV, "RNNBENCH_TEST_GATE": str(gate)})
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    made.nodes = [made.add_node(**NODE) for _ in range(2)]
    yield made
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    runs = planned(seeds=range(4), epochs=4, pause=0.05)
    return runs, undisturbed(runs, tmp_path_factory.mktemp("undisturbed"))


def start(zygote, cluster, words, tmp_path):
    return zygote.start([*words, "--address", cluster.address], tmp_path / "log", env=ENV)


def in_work(tmp_path) -> list:
    return list((tmp_path / "r" / "checkpoints").glob("*.pt"))


def lose(cluster) -> None:
    cluster.remove_node(cluster.nodes.pop(), allow_graceful=False)


def find(cluster) -> None:
    cluster.nodes.append(cluster.add_node(**NODE))


@pytest.mark.timeout(900)  # some 30 s on a quiet machine; the workers' start alone took over 90 s on a busy one
def test_the_same_records_as_inline_with_a_node_lost_in_mid_grid(zygote, cluster, gate, tmp_path):
    runs = planned(f"{FAULT}:Gated", seeds=range(4))
    gate.touch()
    wanted = undisturbed(runs, tmp_path / "undisturbed")
    gate.unlink()
    driver = start(zygote, cluster, argv(runs, tmp_path / "r", "--keep-weights", executor="ray"), tmp_path)
    driver.until(lambda: len(in_work(tmp_path)) == 2, timeout=240)  # one run on each node, after its first epoch
    lose(cluster)
    driver.until(lambda: "its worker died (its node is gone): trying again" in driver.err.read_text(), timeout=240)
    gate.touch()
    assert driver.wait(240) == 0, driver.err.read_text()
    find(cluster)
    assert_complete(tmp_path / "r", runs, wanted)
    found = list(Store(tmp_path / "r").records())
    for one in runs:
        trained = load_trained(Store(tmp_path / "r").weights_path(one.run))
        assert score_of(trained) == wanted[one.run.id]["metrics"]["test"]
    assert {record["where"]["commit"] for record in found} != {None}
    assert [record["where"]["resumed"] > 0 for record in found].count(True) == 1


@pytest.mark.slow
def test_a_cluster_that_shrinks_to_nothing_and_comes_back_is_waited_for(zygote, cluster, grid, tmp_path):
    runs, wanted = grid
    driver = start(zygote, cluster, argv(runs, tmp_path / "r", executor="ray"), tmp_path)
    driver.until(lambda: in_work(tmp_path), timeout=90)
    lose(cluster)
    lose(cluster)
    time.sleep(10)
    assert driver.code is None
    find(cluster)
    find(cluster)
    assert driver.wait(180) == 0, driver.err.read_text()
    assert_complete(tmp_path / "r", runs, wanted)


@pytest.mark.slow
def test_ctrl_c_brings_the_checkpoints_home_and_any_executor_goes_on(zygote, cluster, grid, tmp_path):
    runs, wanted = grid
    words = argv(runs, tmp_path / "r", "--checkpoint-seconds", "1000", executor="ray")
    driver = start(zygote, cluster, words, tmp_path)
    driver.until(lambda: "epoch 1/4" in driver.err.read_text(), timeout=90)
    driver.signal(signal.SIGINT)
    assert driver.wait() == 130, driver.err.read_text()
    assert in_work(tmp_path) and "Traceback" not in driver.err.read_text()
    again = zygote.start(argv(runs, tmp_path / "r"), tmp_path / "log")
    assert again.wait() == 0, again.err.read_text()
    assert_complete(tmp_path / "r", runs, wanted)
    assert sum(record["where"]["resumed"] for record in Store(tmp_path / "r").records()) >= 1


def test_ctrl_c_does_not_wait_for_room_that_may_never_come(zygote, cluster, tmp_path):
    """Nobody has a CPU for the run, which Ray holds back; what runs already has its checkpoint, and this has none."""
    lose(cluster)
    lose(cluster)
    try:
        driver = start(zygote, cluster, argv(planned(seeds=(0, 1)), tmp_path / "r", executor="ray"), tmp_path)
        driver.until(lambda: "2 runs to do" in driver.err.read_text(), timeout=90)
        time.sleep(3)
        assert driver.code is None
        driver.signal(signal.SIGINT)
        assert driver.wait(60) == 130, driver.err.read_text()
    finally:
        find(cluster)
        find(cluster)
    said = driver.err.read_text()
    assert "1 not started, 1 stopped; the same command goes on" in said and "Traceback" not in said


@pytest.mark.slow
def test_a_job_that_does_not_stop_is_ended_after_a_while(cluster, tmp_path, monkeypatch):
    import ray

    from suite.work.executors import ray_cluster, ray_executor

    monkeypatch.setattr(ray_executor, "GRACE_SECONDS", 3.0)
    (one,) = planned("tests.plugins.broken:Hangs", seeds=(0,))
    ray_cluster.connect(cluster.address, [one.run.model])
    events, store, stopper = [], Store(tmp_path), Stopper()
    try:
        with Claims(store.claims_folder()) as claims:
            todo = Todo([[one]], store, Settings(), claims, pytest.fail)
            for event in ray_executor.RayExecutor(threads=1, shares={}).run(todo, stopper):
                events.append(event)
                stopper.ask()
    finally:
        ray.shutdown()
    assert isinstance(events[0], Progress) and events[-1] == Stopped(one.run.id)


@pytest.mark.slow
def test_a_killed_driver_goes_on_from_what_came_home(zygote, cluster, grid, tmp_path):
    runs, wanted = grid
    driver = start(zygote, cluster, argv(runs, tmp_path / "r", executor="ray"), tmp_path)
    driver.until(lambda: in_work(tmp_path), timeout=90)
    driver.signal(signal.SIGKILL)
    driver.wait()
    again = start(zygote, cluster, argv(runs, tmp_path / "r", executor="ray"), tmp_path)
    assert again.wait(120) == 0, again.err.read_text()
    assert_complete(tmp_path / "r", runs, wanted)


@pytest.mark.slow
def test_failures_on_ray_are_records_as_anywhere(zygote, cluster, tmp_path):
    models = {"tests.plugins.broken:Raises": "no luck", f"{FAULT}:Dies": "worker died 3 times: ",
              "tests.plugins.broken:Hangs": "worker died 3 times: no sign of life for 2 s"}  # fmt: skip
    words = argv(planned("tests.plugins.tiny:Leaky", seeds=(0,)), tmp_path / "r", executor="ray")
    words[1] = ",".join([*models, "tests.plugins.tiny:Leaky"])
    driver = start(zygote, cluster, [*words, "--stall-seconds", "2"], tmp_path)
    assert driver.wait(180) == 1, driver.err.read_text()
    failed = {r["run"]["model"]: r["error"]["message"] for r in map(load, Store(tmp_path / "r").failure_paths())}
    assert set(failed) == set(models)
    assert all(words in failed[model] for model, words in models.items()), failed
    (done,) = Store(tmp_path / "r").records()
    assert done["run"]["model"] == "tests.plugins.tiny:Leaky"


def test_data_that_a_node_lacks_is_told_with_the_node(zygote, cluster, tmp_path):
    words = ["--models", "cornn", "--tasks", "psmnist", "--executor", "ray", "--engine", "fused",
             "--data-dir", "/dev/null/nothing", "--results-dir", str(tmp_path / "r")]  # fmt: skip
    env = {**ENV, "RNNBENCH_OFFLINE": "1"}
    driver = zygote.start([*words, "--address", cluster.address], tmp_path / "log", env=env)
    code_ = driver.wait(90)
    said = driver.err.read_text()
    assert code_ in (4, 5), said  # nodes have their own environment, so they may try to fetch
    assert "Ray node" in said.splitlines()[-1] and "mnist" in said and "Traceback" not in said


def test_bad_options_on_ray_are_one_line(zygote, cluster, tmp_path):
    runs = planned("tests.plugins.tiny:Leaky", seeds=(0,))
    for words, said in (
        (("--device", "cuda"), "a Ray cluster without one"),
        (("--device", "cuda:1"), "which picks the GPU"),
        (("--set", "batch_size=121"), "wanted batch_size <= 120"),
    ):
        driver = start(zygote, cluster, [*argv(runs, tmp_path / "r", executor="ray"), *words], tmp_path)
        assert driver.wait(90) == 2, driver.err.read_text()
        assert said in driver.err.read_text() and len(driver.err.read_text().strip().splitlines()) == 1


def test_no_cluster_there_is_one_line(zygote, tmp_path):
    words = [*argv(planned(seeds=(0,)), tmp_path / "r", executor="ray"), "--address", "127.0.0.1:1"]
    driver = zygote.start(words, tmp_path / "log", env=ENV)
    assert driver.wait(90) == 2, driver.err.read_text()
    said = driver.err.read_text()
    assert "--executor ray: no cluster at 127.0.0.1:1" in said.splitlines()[-1] and "Traceback" not in said


def test_without_ray_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "suite.work.executors.ray_cluster", raising=False)
    from suite.work import launch

    args = SimpleNamespace(executor="ray", address=None, models="a", tasks="b", stall_seconds=None, device="auto")
    with pytest.raises(UsageError, match=r"pip install 'rnnbench\[ray\]'"):
        launch.cluster_devices(args)
