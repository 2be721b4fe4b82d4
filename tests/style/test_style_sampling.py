"""Sampling of the style line: truncation towards the mean style, constant noise, classes."""

import pytest
import torch

from gan_modules import GANError, StyleGAN, StyleGAN2

SMALL = {"image_shape": (3, 16, 16), "latent_dim": 3, "style_dim": 4, "channel_max": 4, "mapping_layers": 2}


@pytest.fixture(params=[StyleGAN, StyleGAN2])
def model(request):
    """A model whose noise matters and whose mean style is not 0; StyleGAN at its full size."""
    torch.manual_seed(0)
    grown = {"first_size": 16} if request.param is StyleGAN else {}
    model = request.param(**SMALL, **grown)
    with torch.no_grad():
        for network in (model.generator, model.generator_ema):
            for name, parameter in network.named_parameters():
                if "noise_strength" in name:
                    parameter.fill_(0.3)
            network.mapping.w_avg.copy_(torch.tensor([0.5, -1.0, 2.0, 0.1]))
    return model


def test_truncation_moves_styles_towards_their_mean(model):
    z = torch.randn(3, 3)
    network = model.generator_ema.eval()
    ws = network.mapping(z)
    assert ws.shape == (3, 6, 4)
    assert all(torch.equal(ws[:, 0], ws[:, layer]) for layer in range(6))
    mean = network.mapping.w_avg
    for cutoff in (None, 2, 6):
        model.truncation_cutoff = cutoff
        truncated = torch.stack(
            [mean + 0.7 * (w - mean) if i < (cutoff or 6) else w for i, w in enumerate(ws.unbind(1))]
        )
        expected = network.synthesis(truncated.transpose(0, 1), noise="const").clamp(-1, 1)
        torch.testing.assert_close(model.sample(3, z=z, truncation=0.7), expected, rtol=0, atol=1e-5)
    model.truncation_cutoff = None
    images = model.sample(3, z=z, truncation=0.0)
    torch.testing.assert_close(images[0], images[2], rtol=0, atol=1e-5)


def test_a_sample_is_a_function_of_its_latent(model):
    """Whatever was drawn before, and in whatever company; and training goes on undisturbed."""
    z = torch.randn(70, 3)
    before, mean = torch.get_rng_state(), model.generator_ema.mapping.w_avg.clone()
    together = model.sample(70, z=z)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(model.generator_ema.mapping.w_avg, mean)
    torch.testing.assert_close(model.sample(2, z=z[66:68]), together[66:68], rtol=0, atol=1e-5)
    assert torch.equal(model.sample(4, seed=3), model.sample(4, seed=3))
    constant, none = (
        model.generator_ema.synthesis(model.generator_ema.mapping(z[:2]), noise) for noise in ("const", "none")
    )
    assert (constant - none).abs().max() > 1e-3


@pytest.mark.parametrize("cls", [StyleGAN, StyleGAN2])
def test_samples_are_of_the_class_asked_for(cls):
    model = cls(**SMALL, num_classes=5)
    z = torch.randn(1, 3).expand(5, 3)
    images = model.sample(5, z=z)
    assert len({image.sum().item() for image in images}) == 5
    torch.testing.assert_close(model.sample(1, z=z[:1], labels=3)[0], images[3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("cls", [StyleGAN, StyleGAN2])
def test_classes_can_be_left_unused(cls, fit, noise_batches, tmp_path):
    """The command line always says how many the data has."""
    model = cls(**SMALL, num_classes=5, conditional=False)
    trainer = fit(model, noise_batches(1, (3, 16, 16), num_classes=5), max_steps=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = cls.load_from_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(again.sample(2, seed=0), model.sample(2, seed=0))
    with pytest.raises(GANError, match="leave labels out"):
        again.sample(2, labels=1)


@pytest.mark.parametrize("cls", [StyleGAN, StyleGAN2])
def test_styles_are_mixed_at_one_layer_of_the_whole_batch(cls):
    torch.manual_seed(0)
    model = cls(**SMALL, style_mixing_prob=0.5)
    cutoffs = []
    for _ in range(300):
        ws = model.mixed_styles(model.inputs((torch.zeros(3, 3, 16, 16),)))
        changes = [layer for layer in range(1, model.mixed_layers) if not torch.equal(ws[:, layer], ws[:, layer - 1])]
        assert len(changes) <= 1
        assert all((ws[i, layer] != ws[i, layer - 1]).any() for layer in changes for i in range(3))
        cutoffs += changes or [0]
    share = sum(cutoff > 0 for cutoff in cutoffs) / 300
    assert abs(share - 0.5) < 4 * (0.25 / 300) ** 0.5
    assert set(cutoffs) == set(range(model.mixed_layers))  # 0: not mixed
    assert model.mixed_layers == (4 if cls is StyleGAN else 6)  # of layers that work: at 8×8 of 16×16
