from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.harness.zygote import Zygote

settings.register_profile("default", deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", deadline=None, max_examples=100_000, suppress_health_check=list(HealthCheck))
settings.register_profile("thorough", deadline=None, max_examples=5_000, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# Tests marked gpu run where this is set, and they alone: all others are about the CPU, wherever they run.
GPU = os.environ.get("RNNBENCH_TEST_GPU") == "1"
if GPU:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch looks for it once, at its first product
else:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # of the processes too that tests start

ROOT = Path(__file__).resolve().parent.parent

# Files that take longest begin, so that no process ends with one of them while the others have nothing left.
LONG = (
    "test_ray", "pages/test_pages_looks", "runner/test_runner_kills", "test_report", "test_triton_interpreted",
    "engines/test_gates", "engines/test_native_build", "test_side_by_side", "test_published_code",
    "runner/test_runner_failures", "test_plugin_code", "weights/test_weights_training", "test_packaging", "test_kills",
    "test_bad_input", "pages/test_pages_use", "test_speed_failures", "test_report_overview", "test_report_readme",
    "test_triton_compiled", "test_tune", "test_report_sharing", "test_report_frames", "test_own_metric",
)  # fmt: skip
_PLACES = {ROOT / "tests" / f"{name}.py": place for place, name in enumerate(LONG)}


@pytest.fixture(autouse=True)
def _processor_state():
    """Every test starts with one thread and IEEE subnormals, whatever a test before it set."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)


@pytest.fixture
def project() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def zygote():
    """Starts real driver processes in milliseconds."""
    made = Zygote()
    yield made
    made.close()


def _sort_out_gpu(config, items):
    mine = [item for item in items if "gpu" in item.keywords]
    if GPU:
        cases = [item for item in items if "gpu" in item.keywords or "triton_cases" in item.path.parts]
        config.hook.pytest_deselected(items=list(set(items) - set(cases)))
        items[:] = cases
    if not GPU or not torch.cuda.is_available():
        reason = "no GPU" if GPU else "no GPU is asked for: RNNBENCH_TEST_GPU=1 runs these tests, and no others"
        for item in mine:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_modifyitems(config, items):
    _sort_out_gpu(config, items)
    items.sort(key=lambda item: _PLACES.get(item.path, len(LONG)))
    for item in items:
        if "slow" in item.keywords and "timeout" not in item.keywords:
            item.add_marker(pytest.mark.timeout(1800))  # minutes on a quiet machine
    data = os.environ.get("RNNBENCH_DATA")
    if data and Path(data).is_dir():
        return
    reason = "the real data sets are not at hand: import them and set RNNBENCH_DATA"
    for item in items:
        if "realdata" in item.keywords:
            item.add_marker(pytest.mark.skip(reason=reason))
