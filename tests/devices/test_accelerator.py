"""Everything that runs on a GPU, run on a pretended one: no tensor on the wrong device, and the same numbers."""

import numpy as np
import pytest
import torch

import atomseg
from atomseg.localize import LocalizeConfig, fit_columns
from atomseg.networks import load_model
from atomseg.simulate import SceneConfig, simulate
from atomseg.simulate.expose import expose
from atomseg.simulate.scene import draw_exposure
from atomseg.train.config import TrainConfig
from atomseg.train.dataset import Example, make_example
from atomseg.train.module import ColumnTraining, validation_batches

# Larger chunks of columns round their sums otherwise; fits end within 0.2 pm of where they would settle.
SAME_PM = 0.2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda there: there + torch.ones(3), "same device"),
        (lambda there: torch.ones(3).add_(there), "same device"),
        (lambda there: torch.ones(3)[there.long()], "same device"),
        (lambda there: there.index_add_(0, torch.tensor([0]), there[:1]), "same device"),
        (lambda there: there.numpy(), "numpy"),
        (np.asarray, "numpy"),
        (lambda there: there.long()[None] @ there.long(), "not implemented"),
    ],
)
def test_what_a_gpu_refuses_is_refused(accelerator, wrong, reason):
    with pytest.raises((RuntimeError, TypeError), match=reason):
        wrong(torch.ones(3, device="cuda"))


def test_what_a_gpu_allows_is_allowed(accelerator):
    there = torch.zeros(3, device="cuda")
    there[0] = torch.tensor([1.0])[0]
    there[1:] = torch.tensor([2.0, 3.0])
    assert (there[torch.tensor([2, 0])] * torch.tensor(2.0)).cpu().numpy().tolist() == [6.0, 2.0]
    assert [value.device.type for value in there] == ["cuda"] * 3
    assert torch.zeros_like(there).is_cuda and not there.cpu().is_cuda


@pytest.mark.parametrize("sample", ["bulk_o1_faults", "sc811_surface_thin"])
def test_a_map_is_the_same(repository, request, sample):
    path = repository / "samples" / f"{sample}.tif"
    here = atomseg.map_micrograph(path, device="cpu")
    accelerator = request.getfixturevalue("accelerator")
    there = atomseg.map_micrograph(path, device="auto")
    assert (there.provenance.device, here.provenance.device) == ("cuda", "cpu")
    assert accelerator.operations > 10_000  # the fit, not only the network
    assert len(there.columns) == len(here.columns)
    apart = here.columns[["y_nm", "x_nm"]].to_numpy() - there.columns[["y_nm", "x_nm"]].to_numpy()
    assert np.abs(apart).max() * 1e3 < SAME_PM
    assert (here.phases.labels != there.phases.labels).mean() < 1e-3


def test_small_pixels_holes_and_doubted_columns_are_fitted_there_too(request):
    rng = np.random.default_rng(7)
    step, sigma = 0.008, 0.045
    centres = np.stack(np.meshgrid(*[np.arange(0.3, 3.0, 0.24)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    profile = [np.exp(-0.5 * ((np.arange(400) * step - centres[:, axis, None]) / sigma) ** 2) for axis in (0, 1)]
    image = rng.poisson(3.0 + 20.0 * profile[0].T @ profile[1]).astype(np.float32)
    image[200:230, 180:210] = np.nan
    doubted = np.arange(len(centres)) % 7 == 3

    def fitted(device):
        return fit_columns(image, centres / step, (step, step), LocalizeConfig(), doubted=doubted, device=device).yx_nm

    here = fitted("cpu")
    accelerator = request.getfixturevalue("accelerator")
    assert np.abs(fitted("cuda") - here).max() * 1e3 < SAME_PM
    assert accelerator.operations > 10_000


def test_images_are_simulated_there(request):
    exposures = [draw_exposure(SceneConfig(shape=(96, 80)), np.random.default_rng(seed))[1] for seed in (1, 2, 6)]
    here = expose(exposures)
    accelerator = request.getfixturevalue("accelerator")
    for one, other in zip(here, expose(exposures, "cuda"), strict=True):
        assert np.array_equal(one.image.numpy(), other.image.cpu().numpy())
    assert accelerator.operations > 100


@pytest.fixture(scope="module")
def trained() -> tuple[TrainConfig, list[Example]]:
    """Settings and examples of a training."""
    config, rng = TrainConfig(crop_px=64, batch_size=2, workers=0), np.random.default_rng(3)
    scenes = [simulate(SceneConfig(shape=(320, 320), p_nothing=0.0), rng) for _ in range(2)]
    return config, [make_example(scene, config, rng) for scene in scenes]


def test_a_step_and_a_validation_of_training_run_there(trained, accelerator, monkeypatch):
    config, examples = trained
    told: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(ColumnTraining, "log_dict", lambda _self, values, **_: told.update(values))
    monkeypatch.setattr(ColumnTraining, "log", lambda _self, name, value: told.update({name: value}))
    module = ColumnTraining(config, examples)
    module.network.to("cuda"), module.average.to("cuda")
    monkeypatch.setattr(ColumnTraining, "device", torch.device("cuda"))
    batch = {name: value.to("cuda") for name, value in validation_batches(examples, 2)[0].items()}
    module.training_step(batch, 0).backward()
    module.validation_step(batch, 0)
    module.on_validation_epoch_end()
    assert all(np.isfinite(float(value)) for value in told.values())
    assert {"train/total", "val/total", "val/threshold"} <= set(told)
    assert accelerator.operations > 200


def test_the_network_computes_in_full_precision(repository, monkeypatch):
    """Numbers of ten bits, as tensor cores would use, make other columns than those of a processor."""
    seen = []
    model = load_model()
    model.network.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    before = torch.backends.cudnn.allow_tf32
    atomseg.map_micrograph(repository / "samples" / "srtio3_001.tif", model=model)
    assert set(seen) == {False}
    assert torch.backends.cudnn.allow_tf32 == before
