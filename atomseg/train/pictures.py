"""Picture grids of input, truth and prediction."""

from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from atomseg.networks import UNet
from atomseg.train.dataset import Example

# Columns of the grid, left to right.
PANELS = ("input", "true heat map", "heat map", "true restored", "restored", "true crystal", "crystal")


@torch.inference_mode()
def picture_grid(network: UNet, examples: list[Example]) -> Tensor:
    """(3, H, W) picture in 0..1: one row an example, one column a panel of `PANELS`.

    Parameters
    ----------
    network : UNet
        Is used in eval mode and left in the mode it came in.
    examples : list of Example
        What to show.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    outputs = network(torch.stack([e.image for e in examples]).to(device))
    network.train(was_training)
    panels: list[Tensor] = []
    for k, example in enumerate(examples):
        brightest = float(torch.quantile(example.restored, 0.995).clamp_min(1e-3))
        panels += [
            (example.image + 2) / 6,  # normalized images lie between -2 and 4 but for single pixels
            example.heatmap * example.heatmap_weight + 0.3 * (1 - example.heatmap_weight),
            torch.sigmoid(outputs.heatmap[k]).cpu(),
            example.restored / brightest,
            outputs.restored[k].cpu() / brightest,
            example.crystal,
            torch.sigmoid(outputs.crystal[k]).cpu(),
        ]
    return make_grid([p.float().clamp(0, 1) for p in panels], nrow=len(PANELS), padding=4, pad_value=0.5)


def save_grid(grid: Tensor, path: Path) -> None:
    """Write a picture grid as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(grid, path)
