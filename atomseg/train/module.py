"""The one training module: network, moving average of its weights, losses and validation."""

import copy
import math
from dataclasses import asdict
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from atomseg.networks import UNet
from atomseg.train.assess import choose_threshold
from atomseg.train.config import TrainConfig
from atomseg.train.dataset import Example, stack
from atomseg.train.losses import Batch, total_loss


class ColumnTraining(lightning.LightningModule):  # type: ignore[misc]
    """Trains a `UNet`; validates and releases the moving average of its weights.

    Parameters
    ----------
    config : TrainConfig
        All settings.
    examples : list of Example
        Validation examples.
    """

    def __init__(self, config: TrainConfig, examples: list[Example]) -> None:
        super().__init__()
        self.settings = config
        # Convolutions of few channels are about twice as fast on channels-last tensors (measured on CPUs).
        self.network = UNet(config.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self._examples = examples

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Total loss of a batch."""
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        losses = total_loss(self.network(image), Batch(**batch), self.settings.losses)
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in losses.items()}, batch_size=len(batch["image"])
        )
        return losses["total"]

    def follow(self) -> None:
        """Move the average after a step; early on with a shorter memory, so that the first guess is soon forgotten."""
        decay = min(self.settings.average_decay, (1 + self.global_step) / (10 + self.global_step))
        update_average(self.average, self.network, decay)

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Log the loss of the averaged weights on validation scenes."""
        losses = total_loss(self.average(batch["image"]), Batch(**batch), self.settings.losses)
        self.log_dict({f"val/{name}": value for name, value in losses.items()}, batch_size=len(batch["image"]))

    def on_validation_epoch_end(self) -> None:
        """Log what the found columns are worth at the best threshold."""
        threshold, rates = choose_threshold(self.average, self._examples, self.device)
        self.log_dict({f"val/{name}": value for name, value in rates.items()})
        self.log("val/threshold", threshold)

    def configure_optimizers(self) -> Any:
        """AdamW; weights of convolutions decay, biases and batch normalization do not."""
        config = self.settings
        decay = [p for p in self.network.parameters() if p.ndim > 1]
        rest = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=config.learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_factor(step, config))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the settings as plain values: a checkpoint is read without unpickling anything."""
        checkpoint["atomseg_config"] = asdict(self.settings)


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up, constant, then a quarter cosine down to zero over the last part of the steps."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    start = max(config.warmup_steps, round(config.steps * (1 - config.decay_fraction)))
    if step < start:
        return 1.0
    progress = min(1.0, (step - start) / max(1, config.steps - start))
    return 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and running statistics towards the network's, in place."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def validation_batches(examples: list[Example], batch_size: int) -> list[dict[str, Tensor]]:
    """Validation examples as batches."""
    return [stack(examples[k : k + batch_size]) for k in range(0, len(examples), batch_size)]
