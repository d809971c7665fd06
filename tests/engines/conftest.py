"""Every engine with a hand-written backward, and every model."""

from __future__ import annotations

import pytest

from models import MODELS
from models.scan import native

ENGINES = ("fused", "native")


@pytest.fixture(params=ENGINES)
def engine(request) -> str:
    if request.param == "native" and native.unavailable("cpu"):
        pytest.skip(native.unavailable("cpu"))
    return request.param


@pytest.fixture(params=tuple(MODELS))
def model(request) -> str:
    return request.param
