"""The model of a run: (embedding) -> recurrence -> state at the read-out step, or at every step -> linear."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.contract import Recurrence, check_run, version_of


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
        version = version_of(x)
        found = self.recurrence.run(x, profile=profile)
        if isinstance(self.recurrence, Recurrence):  # what only measures a loop gives no h
            check_run(self.recurrence, x, found, version)
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
