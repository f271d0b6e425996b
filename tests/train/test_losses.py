import pytest
import torch

from atomseg.errors import ConfigError
from atomseg.networks import Outputs
from atomseg.train.losses import Batch, LossConfig, charbonnier, heatmap_loss, offset_loss, total_loss


@pytest.mark.parametrize("focus", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_the_heat_map_loss_is_least_at_the_target(focus, target):
    p = torch.linspace(0.01, 0.99, 99)
    losses = [float(heatmap_loss(torch.logit(v)[None], torch.tensor([target]), torch.ones(1), focus)) for v in p]
    assert abs(float(p[int(torch.tensor(losses).argmin())]) - target) < 0.011


def test_ignored_pixels_have_no_gradient():
    logits = torch.zeros(4, requires_grad=True)
    heatmap_loss(logits, torch.ones(4), torch.tensor([1.0, 0.0, 1.0, 0.0]), 1.0).backward()
    assert (logits.grad != 0).tolist() == [True, False, True, False]


@pytest.mark.parametrize("variance_weighting", [0.0, 0.5])
def test_the_offset_sigma_learns_the_scatter(variance_weighting):
    """At the optimum sigma is the rms error of a component: errors of 0.3 and 0.4 give sqrt((0.09 + 0.16) / 2)."""
    log_sigma = torch.zeros(1, 1, 1, 1, requires_grad=True)
    target = torch.tensor([0.3, 0.4]).reshape(1, 2, 1, 1)
    optimizer = torch.optim.SGD([log_sigma], lr=0.2)
    for _ in range(400):
        optimizer.zero_grad()
        offset_loss(torch.zeros(1, 2, 1, 1), log_sigma, target, torch.ones(1, 1, 1, 1), variance_weighting).backward()
        optimizer.step()
    assert float(log_sigma.detach().exp()) == pytest.approx((0.25 / 2) ** 0.5, rel=1e-3)


def test_charbonnier_is_zero_at_the_target_and_absolute_far_away():
    one = torch.ones(1)
    assert float(charbonnier(torch.ones(3), torch.ones(3), one)) == pytest.approx(0, abs=1e-6)
    assert float(charbonnier(torch.zeros(3), torch.full((3,), 5.0), one)) == pytest.approx(5.0, rel=3e-3)


HEADS = ("heatmap", "offset", "restored", "crystal", "denoised", "columns")


def make_batch(n_copies=1, known=1.0):
    generator = torch.Generator().manual_seed(0)

    def random(channels):
        return torch.rand(1, channels, 8, 8, generator=generator)

    parts = {
        "image": 1,
        "heatmap": 1,
        "heatmap_weight": 1,
        "offset": 2,
        "offset_weight": 1,
        "restored": 1,
        "crystal": 1,
        "denoised": 1,
        "columns": 1,
    }
    tensors = {name: random(c).repeat(n_copies, 1, 1, 1) for name, c in parts.items()}
    known = torch.full((n_copies, 1, 1, 1), known)
    batch = Batch(**tensors, known=known, clean_known=known)
    heads = {"heatmap": 1, "offset": 2, "log_sigma": 1, "restored": 1, "crystal": 1, "denoised": 1, "columns": 1}
    return batch, Outputs(**{name: random(c).repeat(n_copies, 1, 1, 1) for name, c in heads.items()})


def test_the_total_is_the_weighted_sum_and_does_not_grow_with_the_batch():
    config = LossConfig(heatmap=2.0, offset=3.0, restored=0.5, crystal=0.25, denoised=0.75, columns=1.5)
    batch, outputs = make_batch()
    losses = total_loss(outputs, batch, config)
    expected = sum(getattr(config, name) * losses[name] for name in HEADS)
    assert torch.allclose(losses["total"], expected)
    batch, outputs = make_batch(n_copies=3)
    assert torch.allclose(total_loss(outputs, batch, config)["total"], losses["total"], rtol=1e-5)


def test_images_with_positions_only_teach_positions_only():
    batch, outputs = make_batch(known=0.0)
    losses = total_loss(outputs, batch, LossConfig())
    assert [float(losses[name]) == 0 for name in HEADS] == [False, False, True, True, True, True]


@pytest.mark.parametrize("key", [*HEADS, "focus", "variance_weighting"])
def test_settings_out_of_range_name_the_key(key):
    with pytest.raises(ConfigError, match=key):
        LossConfig(**{key: -0.1})
