"""A gradient profile is measured beside the training, not in it."""

from __future__ import annotations

import torch

from models.classifier import SequenceModel
from suite.work.training.profiles import first_examples, gradient_profile
from tests.plugins.tiny import Leaky, Parity


class Normed(Leaky):
    """Running statistics, and random numbers in training."""

    def __init__(self, input_size, hidden_size, *, engine="auto"):
        super().__init__(input_size, hidden_size, engine=engine)
        self.norm = torch.nn.BatchNorm1d(hidden_size)

    def forward(self, x, *, profile=None):
        h, final = super().forward(x)
        return torch.stack([torch.nn.functional.dropout(self.norm(one), 0.5, self.training) for one in h]), final


def test_a_profile_leaves_no_trace_in_a_models_statistics_or_random_numbers():
    """It is a training pass over validation examples, which training must not know."""
    task, model = Parity(seed=1), SequenceModel(Normed(1, 5), output_size=1)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert gradient_profile(model, task, first_examples(task, torch.device("cpu")), epoch=0) is None  # it fills none
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert "recurrence.norm.running_mean" in before and all(p.grad is None for p in model.parameters())
