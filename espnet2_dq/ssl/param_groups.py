"""Learning rates of the quantizers apart from the rest of the model."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from espnet2_dq.ssl.quantizer import OnlineKMeans
from espnet2_dq.ssl.revival import RevivalConfig


def quantizer_param_groups(
    model: nn.Module,
    quantizers: Iterable[tuple[OnlineKMeans, RevivalConfig]],
    lr: float,
    *,
    codebook_weight_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Split the parameters by learning rate.

    Args:
        model: All its trainable parameters are covered exactly once.
        quantizers: Quantizers inside the model with their switches.
        lr: Learning rate of everything else.
        codebook_weight_decay: Weight decay of the codebooks; None: the optimizer's.

    Returns:
        Parameter groups for a torch optimizer; the first holds the rest of the model.
        A single group when no setting asks for another rate.
    """
    special: list[dict[str, Any]] = []
    for quantizer, config in quantizers:
        rest = [p for n, p in quantizer.named_parameters() if n != "codebook"]
        if config.projection_lr_scale != 1.0:
            special.append({"params": rest, "lr": lr * config.projection_lr_scale})
        if config.codebook_lr_scale != 1.0 or codebook_weight_decay is not None:
            group: dict[str, Any] = {
                "params": [quantizer.codebook],
                "lr": lr * config.codebook_lr_scale,
            }
            if codebook_weight_decay is not None:
                group["weight_decay"] = codebook_weight_decay
            special.append(group)
    taken = {id(p) for group in special for p in group["params"]}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    return [{"params": others, "lr": lr}, *special]
