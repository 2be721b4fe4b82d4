"""Checkpoints: resumed where the game stood, rebuilt as what they were, and refused in one sentence."""

import copy
import os

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from gan_modules import CGAN, DCGAN, GAN, WGAN, WGANGP, GANError, VanillaGAN
from gan_modules.families.latent import LatentGAN

SMALL = {"image_shape": (1, 4, 4), "latent_dim": 3, "hidden_dim": 8}
POINTS = {"point_shape": (2,), "latent_dim": 2, "hidden_dim": 4}


class Reseed(Callback):
    """Noise that depends on the epoch alone, so that two runs of the same epoch compare."""

    def on_train_epoch_start(self, trainer, model):
        torch.manual_seed(100 + trainer.current_epoch)


@pytest.fixture
def saved(fit, noise_batches, tmp_path):
    """A file of a small trained model: `saved(cls, **arguments) -> (model, path)`."""

    def save(cls=VanillaGAN, steps=2, **arguments):
        model = cls(**SMALL | arguments)
        trainer = fit(model, noise_batches(steps, size=4, num_classes=model.num_classes), max_steps=steps)
        path = tmp_path / f"{cls.__name__}.ckpt"
        trainer.save_checkpoint(path)
        return model, path

    return save


@pytest.mark.parametrize("cls", [WGAN, WGANGP])
def test_a_run_cut_in_the_middle_of_a_step_goes_on_as_if_never_cut(cls, fit, noise_batches, updates, tmp_path):
    def model():
        torch.manual_seed(0)
        return cls(**POINTS, lr_g=1e-2, lr_d=1e-2)

    batches = noise_batches(8, (2,), size=4)  # an epoch is one step and three batches of the next
    whole, first, second = model(), model(), model()
    unbroken = fit(whole, batches, Reseed(), max_epochs=3)
    cut = fit(first, batches, Reseed(), max_epochs=1)
    assert (cut.global_step, first.images_seen) == (1, 32)
    cut.save_checkpoint(tmp_path / "cut.ckpt")
    resumed = fit(second, batches, Reseed(), updates, max_epochs=3, ckpt_path=tmp_path / "cut.ckpt")

    assert "".join(name[0] for name in updates.names) == "ddg" + "dddddg" * 2 + "dddd"
    assert resumed.global_step == unbroken.global_step == 4
    assert second.images_seen == whole.images_seen == 24 * 4
    torch.testing.assert_close(second.state_dict(), whole.state_dict(), rtol=0, atol=0)
    for ours, theirs, steps in zip(resumed.optimizers, unbroken.optimizers, (24, 4), strict=True):
        ours, theirs = ours.state_dict()["state"], theirs.state_dict()["state"]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        assert {int(state["step"]) for state in ours.values()} == {steps}


def test_model_checkpoint_resumes_by_steps(fit, noise_batches, tmp_path):
    batches = noise_batches(40, (2,))
    keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=2, save_top_k=-1)
    fit(WGAN(**POINTS, n_critic=3), batches, keep, max_steps=5)
    resumed = WGAN(**POINTS, n_critic=3)
    again = ModelCheckpoint(tmp_path / "again", filename="{step}", every_n_train_steps=2, save_top_k=-1)
    trainer = fit(resumed, batches, again, max_steps=7, ckpt_path=tmp_path / "step=4.ckpt")
    assert trainer.global_step == 7
    assert resumed.images_seen == 7 * 3 * 6
    # step 4 is kept once more, in the middle of the next: Lightning does not remember what it kept before
    assert sorted(path.stem for path in (tmp_path / "again").iterdir()) == ["step=4", "step=6"]


def test_learning_rates_fall_in_a_straight_line_and_go_on_after_a_resume(fit, noise_batches, tmp_path):
    class Rates(Callback):
        def __init__(self):
            self.taken = []

        def on_train_start(self, trainer, model):
            for name, optimizer in zip("dg", trainer.optimizers, strict=True):
                optimizer.register_step_post_hook(
                    lambda optimizer, *_, name=name: self.taken.append((name, optimizer.param_groups[0]["lr"]))
                )

    def model():
        return WGANGP(**POINTS, n_critic=2, lr_d=0.2, lr_g=0.4, decay_steps=5)

    def law(steps):
        updates = [("d", 0.2), ("d", 0.2), ("g", 0.4)]
        return [(name, pytest.approx(rate * max(0, 1 - step / 5))) for step in steps for name, rate in updates]

    rates, batches = Rates(), noise_batches(14, (2,))
    cut = fit(model(), batches, rates, max_steps=3)
    assert rates.taken == law(range(3))
    cut.save_checkpoint(tmp_path / "cut.ckpt")
    rates = Rates()
    fit(model(), batches, rates, max_steps=7, ckpt_path=tmp_path / "cut.ckpt")
    assert rates.taken == law(range(3, 7))


def test_a_constant_learning_rate_stays(fit, noise_batches):
    model = WGANGP(**POINTS, n_critic=1)
    trainer = fit(model, noise_batches(3, (2,)), max_steps=3)
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [1e-4, 1e-4]


@pytest.mark.parametrize("through", [GAN, LatentGAN, VanillaGAN])
def test_the_file_names_its_class(through, saved):
    model, path = saved()
    found = through.load_from_checkpoint(path)
    assert type(found) is VanillaGAN
    torch.testing.assert_close(found.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert torch.equal(found.sample(5, seed=1), model.sample(5, seed=1))
    assert found.images_seen == model.images_seen == 8


def test_another_class_is_refused_by_name(saved):
    _, path = saved()
    with pytest.raises(GANError, match=r"holds a VanillaGAN: load it as VanillaGAN, not CGAN\."):
        CGAN.load_from_checkpoint(path)


def test_a_dcgan_is_no_cgan(fit, noise_batches, tmp_path):
    trainer = fit(DCGAN((1, 8, 8), latent_dim=2, base_channels=2), noise_batches(1, (1, 8, 8)), max_steps=1)
    trainer.save_checkpoint(tmp_path / "dcgan.ckpt")
    with pytest.raises(GANError, match=r"dcgan\.ckpt' holds a DCGAN: load it as DCGAN, not CGAN\."):
        CGAN.load_from_checkpoint(tmp_path / "dcgan.ckpt")
    with pytest.raises(
        GANError, match=r"made by gan_modules\.models\.dcgan\.DCGAN, not by gan_modules\.models\.vanilla\.VanillaGAN"
    ):
        fit(VanillaGAN(**SMALL), noise_batches(1), max_steps=2, ckpt_path=tmp_path / "dcgan.ckpt")


def test_hyper_parameters_survive(saved):
    arguments = {
        "lr_g": 3e-3,
        "lr_d": 4e-3,
        "betas": (0.3, 0.7),
        "n_critic": 1,
        "saturating": True,
        "ema_half_life": 12.5,
        "accumulate": 2,
        "clip_norm": 3.0,
    }
    unset = {"point_shape": None, "generator": None, "discriminator": None}
    model, path = saved(**arguments)
    found = GAN.load_from_checkpoint(path)
    assert dict(found.hparams) == dict(model.hparams) == SMALL | arguments | unset
    assert found.saturating
    assert (found.accumulate, found.clip_norm, found._averages.half_life) == (2, 3.0, 12.5)
    assert found.optimizer_g.keywords["lr"] == 3e-3
    assert found.optimizer_d.keywords == {"lr": 4e-3, "betas": (0.3, 0.7), "fused": True}
    assert found._averages.images_averaged == 8


def test_overrides_replace_hyper_parameters(saved):
    _, path = saved(lr_g=3e-3)
    found = GAN.load_from_checkpoint(path, lr_g=0.5, clip_norm=1.0)
    assert found.hparams.lr_g == found.optimizer_g.keywords["lr"] == 0.5
    assert found.clip_norm == 1.0
    assert found.hparams.hidden_dim == 8


def test_hyper_parameters_that_do_not_fit_are_named(saved, fit, noise_batches):
    _, path = saved()
    message = r"networks do not fit this VanillaGAN: it was made with hidden_dim=8, not 9; pass the same"
    with pytest.raises(GANError, match=message):
        VanillaGAN.load_from_checkpoint(path, hidden_dim=9)
    with pytest.raises(GANError, match=message):
        fit(VanillaGAN(**SMALL | {"hidden_dim": 9}), noise_batches(1), max_steps=3, ckpt_path=path)
    with pytest.raises(
        GANError, match=r"made with hidden_dim=8, not 9 and betas=\[0\.5, 0\.999\], not \[0\.3, 0\.7\];"
    ):
        VanillaGAN.load_from_checkpoint(path, hidden_dim=9, betas=[0.3, 0.7])
    with pytest.raises(GANError, match="made with ema_half_life=its default, not 0;"):
        VanillaGAN.load_from_checkpoint(path, ema_half_life=0)


def test_a_file_is_loaded_without_its_average_when_names_need_not_match(saved):
    model, path = saved()
    found = VanillaGAN.load_from_checkpoint(path, strict=False, ema_half_life=0)
    assert found.generator_ema is None
    torch.testing.assert_close(found.generator.state_dict(), model.generator.state_dict(), rtol=0, atol=0)


def test_missing_file(tmp_path):
    with pytest.raises(GANError, match=r"no checkpoint at '.*nowhere\.ckpt'"):
        GAN.load_from_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file(share, saved):
    _, path = saved()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(GANError, match=r"VanillaGAN\.ckpt' cannot be read as a checkpoint: it is damaged, cut short"):
        GAN.load_from_checkpoint(path)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_file_that_would_execute_code_is_refused_unexecuted(saved, tmp_path):
    _, path = saved()
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["extra"] = Malicious(tmp_path / "executed")
    torch.save(checkpoint, path)
    with pytest.raises(GANError, match="holds more than tensors and plain values"):
        GAN.load_from_checkpoint(path)
    assert not (tmp_path / "executed").exists()
    torch.load(path, weights_only=False)  # the trap is a real one
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"weights": 1}, [1, 2]])
def test_a_foreign_file_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(GANError, match=r"foreign\.ckpt' was not written by a model of gan_modules"):
        GAN.load_from_checkpoint(tmp_path / "foreign.ckpt")


def test_a_class_nobody_has_imported_is_never_imported(saved, tmp_path):
    _, path = saved()
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["gan_modules"]["class"] = "stranger.GAN"
    torch.save(checkpoint, path)
    with pytest.raises(GANError, match=r"made by 'stranger\.GAN', which is not known here: import that class first"):
        GAN.load_from_checkpoint(path)


def test_a_class_of_ones_own_is_found(saved):
    class MyGAN(VanillaGAN):
        pass

    _, path = saved(MyGAN)
    assert type(GAN.load_from_checkpoint(path)) is MyGAN


def test_the_file_holds_plain_values_alone(saved):
    model, path = saved(CGAN, num_classes=3)
    checkpoint = torch.load(path, weights_only=True)
    assert (
        checkpoint["gan_modules"].items()
        >= {
            "class": "gan_modules.models.cgan.CGAN",
            "images_seen": 8,
            "images_averaged": 8,
            "batches_played": 0,
        }.items()
    )
    first = copy.deepcopy(model.state_dict())
    torch.testing.assert_close(checkpoint["state_dict"], first, rtol=0, atol=0)


def tampered(path, change):
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(gan_modules="x"),
        lambda c: c["gan_modules"].pop("class"),
        lambda c: c["gan_modules"].pop("images_seen"),
        lambda c: c["gan_modules"].update({"class": "gan_modules.families.latent.LatentGAN"}),
        lambda c: c.update(hyper_parameters=[1]),
        lambda c: c.update(state_dict=[1]),
        lambda c: c["hyper_parameters"].update(unheard_of=1),
        lambda c: c["hyper_parameters"].update(latent_dim="x"),
        lambda c: c["hyper_parameters"].update(hidden_dim=10**9),  # 10^18 weights, had they been made
        lambda c: c["state_dict"].update(
            {name: t[:1].expand(10**6) for name, t in c["state_dict"].items() if t.ndim == 1}
        ),
    ],
)
def test_a_tampered_checkpoint_is_refused_in_a_sentence(change, saved):
    _, path = saved()
    with pytest.raises(GANError) as refusal:
        GAN.load_from_checkpoint(tampered(path, change))
    assert len(str(refusal.value).splitlines()) == 1


def test_other_rules_in_the_middle_of_a_step(fit, noise_batches, tmp_path):
    batches = noise_batches(4, (2,), size=4)
    fit(WGAN(**POINTS), batches, max_epochs=1).save_checkpoint(tmp_path / "cut.ckpt")  # four of five batches
    resumed = fit(WGAN(**POINTS, n_critic=2), batches, max_steps=2, ckpt_path=tmp_path / "cut.ckpt")
    assert resumed.global_step == 2
