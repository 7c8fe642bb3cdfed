"""One encoder with a linear head for each disease, as it is trained."""

from collections.abc import Collection, Mapping

import torch
from torch import nn
from torch.nn import functional

from sslmri.diseases import DISEASES
from sslmri.learning.encoder import Encoder
from sslmri.learning.model import Head


class MultiHead(nn.Module):
    """One encoder with a linear head for each disease.

    In the second phase of fine-tuning the stem and the first two stages are frozen, and heads for lesions read the
    second stage too.
    """

    def __init__(self, encoder: Encoder, diseases: Collection[str], late: Mapping[str, Head] | None = None) -> None:
        """Takes the encoder, and for the second phase the heads of the first.

        A new head starts with equal logits, so that its first gradients leave the pre-trained encoder alone.
        """
        super().__init__()
        self.encoder, self._frozen = encoder, () if late is None else encoder.first_stages
        n_early, n_last = encoder.architecture.texture_dim // 2, encoder.architecture.feature_dim
        self.heads = nn.ModuleDict()
        for key in diseases:
            n_added = n_early if late is not None and DISEASES[key].is_focal else 0
            layer = nn.Linear(n_added + n_last, len(DISEASES[key].classes))
            with torch.no_grad():
                layer.weight.copy_(functional.pad(late[key].weight, (n_added, 0)) if late else torch.tensor(0.0))
                layer.bias.copy_(late[key].bias if late else torch.tensor(0.0))
            self.heads[key] = layer
        for stage in self._frozen:
            stage.requires_grad_(False)

    def train(self, mode: bool = True) -> "MultiHead":
        """Puts all but the frozen stages into training mode."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self

    def head(self, key: str) -> Head:
        """Returns a head as it is now, with the gradients of its parameters.

        The classes of a focal one are relative to the reference class, whose logit is 0 at every location: otherwise
        tissue without a lesion, which every slice shows somewhere, would count as evidence against one.
        """
        weight, bias = (self.get_parameter(f"heads.{key}.{name}") for name in ("weight", "bias"))
        if DISEASES[key].is_focal:
            return Head(weight - weight[:1], bias - bias[:1], "log-mean-exp")
        return Head(weight, bias)

    @torch.no_grad()
    def plain_heads(self) -> dict[str, Head]:
        """Returns copies of the heads on the CPU."""
        heads = {key: self.head(key) for key in self.heads}
        return {
            key: Head(head.weight.cpu().clone(), head.bias.cpu().clone(), head.pooling) for key, head in heads.items()
        }
