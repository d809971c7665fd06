"""Importing torchvision where its compiled part does not fit the installed torch.

A torchvision built for CUDA beside a CPU torch fails on import with ``operator torchvision::nms does not exist``:
it registers Python parts for operators that its library would have declared. Reading MNIST needs none of them, so
the two missing schemas are declared first, and only where the library cannot be loaded.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[torch.library.Library] = []  # a Library's schemas live as long as it does


def _library_loads() -> bool:
    """Whether torchvision's compiled operators can be loaded; they then are."""
    spec = importlib.util.find_spec("torchvision")
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        for path in sorted(Path(folder).glob("_C*.so")):
            try:
                torch.ops.load_library(str(path))
                return True
            except (OSError, ImportError):
                continue
    return False


def torchvision() -> ModuleType:
    """The torchvision package, imported."""
    if "torchvision" not in sys.modules and not _library_loads() and not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name, schema in _SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, name):
                library.define(schema)
        _declared.append(library)
    import torchvision

    return torchvision
