"""The model of a run: (embedding) -> recurrence -> state at the read-out step, or at every step -> linear."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.contract import ModelError, Recurrence, check_pair

CHANGED = "x: wanted it left as it is, got it changed in place (x.mul_(2) in place of x * 2, say)"


def _check(recurrence: Recurrence, x: Tensor, found: Any, version: int | None) -> None:
    """What a recurrence gave for x (T,B,I): read out by shape alone, a wrong one would be trained without a word.

    x may be the task's own data, not a copy: changed in place it would be other data from then on.
    """
    check_pair(recurrence, found)
    if version is not None and x._version != version:
        raise ModelError(f"{type(recurrence).__name__}.forward: {CHANGED}")
    (h, final), (T, B), H = found, x.shape[:2], recurrence.hidden_size
    for name, wanted, shape, got in (
        ("h", "(T,B,H)", (T, B, H), h),
        ("final state", "(B,N*H)", (B, recurrence.states * H), final),
    ):
        if not isinstance(got, Tensor) or tuple(got.shape) != shape:
            words = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
            raise ModelError(f"{type(recurrence).__name__}.forward: {name}: wanted {wanted} = {shape}, got {words}")


class SequenceModel(nn.Module):
    """Reads out the last h, the h of each example's last valid step, or all of them.

    Args:
        recurrence: any architecture.
        output_size: O.
        embedding: initial embedding matrix (vocabulary, I), trained; None for real-valued inputs.
        padding_index: a row of the embedding that is never trained, or None.
        every_step: read out every h.
    """

    def __init__(
        self, recurrence: Recurrence, output_size: int,
        *, embedding: Tensor | None = None, padding_index: int | None = None, every_step: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.recurrence = recurrence
        self.embedding = (
            None
            if embedding is None
            else nn.Embedding.from_pretrained(embedding.clone(), freeze=False, padding_idx=padding_index)
        )
        self.readout = nn.Linear(recurrence.hidden_size, output_size)
        self.every_step = every_step

    def forward(self, x: Tensor, lengths: Tensor | None = None, *, profile: Tensor | None = None) -> Tensor:
        """Outputs (B,O), or (B,T,O) where every step is read out.

        Args:
            x: (B,T,I), or int64 tokens (B,T) where there is an embedding.
            lengths: int64 (B,), the valid steps of each example, or None for the last step of all; not read where every
                step is read out.
            profile: (N,T) buffer for the gradient norms, or None.
        """
        x = x.transpose(0, 1)  # the one transpose: tasks are batch-first, recurrences time-first
        if self.embedding is not None:
            x = self.embedding(x)
        # torch counts every change of a tensor in place, its views' too; in inference mode alone it does not
        version = None if x.is_inference() else x._version
        found = self.recurrence.run(x, profile=profile)
        if isinstance(self.recurrence, Recurrence):  # what only measures a loop gives no h
            _check(self.recurrence, x, found, version)
        h, final = found
        if self.every_step:
            return self.readout(h).transpose(0, 1)
        if lengths is None:
            # `final`, not h[-1], whose backward would build a dense (T,B,H)
            last = final[..., : self.recurrence.hidden_size]
        else:
            last = h[lengths - 1, torch.arange(h.shape[1], device=h.device)]
        return self.readout(last)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The recurrence's groups, and one for the read-out and the embedding."""
        own = set(self.recurrence.parameters())
        rest = [p for p in self.parameters() if p not in own]
        return [*self.recurrence.parameter_groups(lr), {"params": rest, "lr": lr}]

    def sizes(self) -> dict[str, int]:
        """Trained parameters: with read-out but without the embedding, and those of the embedding."""
        embedding = 0 if self.embedding is None else self.embedding.weight.numel()
        total = sum(p.numel() for p in self.parameters())
        return {"parameters": total - embedding, "embedding_parameters": embedding}
