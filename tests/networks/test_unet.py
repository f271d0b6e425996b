import numpy as np
import pytest
import torch

from atomseg.errors import ConfigError
from atomseg.networks import BASIC_HEADS, UNet, UNetConfig

CONFIGS = [
    UNetConfig(channels=(8, 8), bottom_blocks=0),
    UNetConfig(channels=(8, 8, 8), bottom_blocks=1),
    UNetConfig(channels=(6, 8, 10), bottom_blocks=2),
    UNetConfig(channels=(6, 8, 10), bottom_blocks=1, bottom_dilation=2, heads=BASIC_HEADS),
]


def network_with_random_statistics(config, seed=0):
    """Eval-mode network whose batch normalization is not the identity."""
    torch.manual_seed(seed)
    network = UNet(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("config", CONFIGS)
def test_outputs_have_the_size_of_the_input(config):
    outputs = UNet(config).eval()(torch.zeros(2, 1, 3 * config.stride, 2 * config.stride))
    for name, channels in (("heatmap", 1), ("offset", 2), ("log_sigma", 1), ("restored", 1), ("crystal", 1)):
        assert getattr(outputs, name).shape == (2, channels, 3 * config.stride, 2 * config.stride)


@pytest.mark.parametrize("config", CONFIGS)
def test_receptive_field_is_exact_for_some_pixel_and_never_exceeded(config):
    """Reach by gradients: which inputs change an output, for every position of the output within a stride."""
    network = network_with_random_statistics(config).double()
    for module in network.modules():  # ReLUs may be shut; without them every path is open
        if isinstance(module, torch.nn.ReLU):
            module.forward = lambda x: x
    reach, size = config.receptive_px, 2 * config.receptive_px + 4 * config.stride
    size += -size % config.stride
    furthest = 0
    for phase in range(config.stride):
        row = size // 2 // config.stride * config.stride + phase
        image = torch.zeros(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        network(image).heatmap[0, 0, row, row].backward()
        touched = np.nonzero(image.grad[0, 0].abs().sum(dim=1).numpy() > 0)[0]
        furthest = max(furthest, row - touched.min(), touched.max() - row)
    assert furthest == reach


def test_the_default_network_is_small():
    config = UNetConfig()
    n_weights = sum(p.numel() for p in UNet(config).parameters())
    assert 0.25e6 < n_weights < 0.5e6
    # 2048 x 2048 pixels of 20 pm are 2.7 million canonical pixels: 0.1 teraflop, 3 s at 30 gigaflop a second.
    assert multiplications_per_pixel(config) < 18_500


def multiplications_per_pixel(config, size=64):
    """Multiply-accumulates of all convolutions per input pixel, counted while they run."""
    count = 0

    def hook(module, _, output):
        nonlocal count
        kernel = module.kernel_size[0] * module.kernel_size[1]
        if isinstance(module, torch.nn.ConvTranspose2d):
            kernel /= module.stride[0] * module.stride[1]  # each output pixel is made from one input pixel
        count += kernel * module.in_channels * output.shape[1] * output.shape[2] * output.shape[3]

    network = UNet(config).eval()
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.register_forward_hook(hook)
    with torch.inference_mode():
        network(torch.zeros(1, 1, size, size))
    return count / size**2


def test_eval_mode_does_not_depend_on_the_rest_of_the_batch():
    network = network_with_random_statistics(CONFIGS[1])
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        alone, together = network(images[:1]).heatmap[0], network(images).heatmap[0]
    assert torch.allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "key"),
    [({"channels": (8,)}, "channels"), ({"channels": (8, 1024)}, "channels"), ({"bottom_blocks": 99}, "bottom_blocks")],
)
def test_settings_out_of_range_name_the_key(kwargs, key):
    with pytest.raises(ConfigError, match=key):
        UNetConfig(**kwargs)
