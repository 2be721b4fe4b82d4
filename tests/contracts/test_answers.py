"""What a model can do gives the same alone and in a batch, in any mode, after any file, and leaves no trace."""

import cases
import pytest
import torch
from answers import answers
from cases import batches, build
from training import batches_of_steps, fit

from gan_modules import GAN


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Models in the middle of their training, with their checkpoints and folders of weights; each trained once."""
    known = {}

    def train(name):
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            model = build(name, ema_half_life=50)
            trainer = fit(model, batches(name, batches_of_steps(model, 3)), max_steps=3)
            trainer.save_checkpoint(folder / "model.ckpt")
            model.save_pretrained(folder / "shared")
            known[name] = model, folder
        model, folder = known[name]
        return model.train(), folder

    return train


def test_alone_and_in_a_batch(name, trained):
    model, _ = trained(name)
    batch, found = answers(model, name)
    for together, alone in found:
        for ours, theirs in zip(together(model, batch), alone(model, batch), strict=True):
            assert ours.isfinite().all()
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_in_every_mode_without_a_trace(name, trained):
    model, _ = trained(name)
    batch, found = answers(model, name)
    for together, _ in found:
        results = []
        for mode in (True, False):
            model.train(mode)
            modes = [module.training for module in model.modules()]
            state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
            random = torch.get_rng_state()
            results.append(together(model, batch))
            assert torch.equal(torch.get_rng_state(), random)
            assert [module.training for module in model.modules()] == modes
            torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
            assert all(parameter.grad is None or not parameter.grad.isnan().any() for parameter in model.parameters())
        for ours, theirs in zip(*results, strict=True):
            assert not ours.requires_grad
            assert torch.equal(ours, theirs)


LOADERS = {
    "checkpoint": lambda folder: GAN.load_from_checkpoint(folder / "model.ckpt"),
    "folder of weights": lambda folder: GAN.from_pretrained(folder / "shared"),
}


@pytest.mark.parametrize("loader", LOADERS)
def test_after_a_file(name, loader, trained):
    model, folder = trained(name)
    loaded = LOADERS[loader](folder)
    assert type(loaded) is cases.MODELS[name]
    assert plain(loaded.hparams) == plain(model.hparams)
    assert loaded.images_seen == model.images_seen > 0
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    batch, found = answers(model, name)
    for together, _ in found:
        for ours, theirs in zip(together(loaded, batch), together(model, batch), strict=True):
            assert torch.equal(ours, theirs)


def plain(values):
    """Hyper-parameters as JSON holds them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
