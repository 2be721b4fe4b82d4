"""The engine under Trainer against loops written by hand in plain PyTorch."""

import copy
import csv
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan_modules import CGAN, DCGAN, WGAN, WGANGP, VanillaGAN

STEPS = 4
LATENT = 3
RATES = {"lr_g": 1e-3, "lr_d": 2e-3}
adam = partial(torch.optim.Adam, betas=(0.4, 0.95))
rmsprop = torch.optim.RMSprop


def cross_entropy_d(critic, real, fake):
    logits_real, logits_fake = critic(real), critic(fake)
    return bce(logits_real, torch.ones_like(logits_real)) + bce(logits_fake, torch.zeros_like(logits_fake))


def cross_entropy_g(critic, fake):
    logits = critic(fake)
    return bce(logits, torch.ones_like(logits))


def saturating_g(critic, fake):
    logits = critic(fake)
    return -bce(logits, torch.zeros_like(logits))


def wasserstein_d(critic, real, fake):
    score_real, score_fake = critic(real), critic(fake)
    return score_fake.mean() - score_real.mean()


def wasserstein_g(critic, fake):
    return -critic(fake).mean()


def penalised_d(critic, real, fake, weight=7.0):
    distance = wasserstein_d(critic, real, fake)
    epsilon = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype)
    between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms = slope.flatten(1).square().sum(1).sqrt()
    return distance + weight * ((norms - 1) ** 2).mean()


MLP = {"image_shape": (1, 4, 4), "hidden_dim": 8, "betas": (0.4, 0.95)}
CONV = {"image_shape": (1, 16, 16), "base_channels": 2}
CASES = {
    "vanilla": (VanillaGAN, MLP, adam, cross_entropy_d, cross_entropy_g),
    "vanilla saturating": (VanillaGAN, {**MLP, "saturating": True}, adam, cross_entropy_d, saturating_g),
    "dcgan": (DCGAN, {**CONV, "betas": (0.4, 0.95)}, adam, cross_entropy_d, cross_entropy_g),
    "wgan": (WGAN, {**CONV, "clip": 0.02}, rmsprop, wasserstein_d, wasserstein_g),
    "wgan_gp": (
        WGANGP,
        {**CONV, "base_channels": 4, "betas": (0.4, 0.95), "gp_weight": 7.0},
        adam,
        penalised_d,
        wasserstein_g,
    ),
    "cgan": (CGAN, {**MLP, "num_classes": 3}, adam, cross_entropy_d, cross_entropy_g),
}


def play_by_hand(generator, discriminator, batches, n_critic, optimizer, loss_d, loss_g, clip):
    """The textbook's loop; the generator answers the noise that the discriminator has just seen."""
    step_d = optimizer(discriminator.parameters(), lr=RATES["lr_d"])
    step_g = optimizer(generator.parameters(), lr=RATES["lr_g"])
    batches = iter(batches)
    for _ in range(STEPS):
        for _ in range(n_critic):
            real, *labels = next(batches)
            z = torch.randn(len(real), LATENT, dtype=torch.float64)
            fake = generator(z, *labels)

            def critic(images, labels=labels):
                return discriminator(images, *labels)

            step_d.zero_grad()
            loss_d(critic, real.double(), fake.detach()).backward()
            step_d.step()
            if clip:
                for parameter in discriminator.parameters():
                    parameter.data = parameter.data.clip(-clip, clip)
        step_g.zero_grad()
        loss_g(critic, fake).backward()
        step_g.step()


@pytest.mark.parametrize("n_critic", [1, 5])
@pytest.mark.parametrize("case", CASES)
def test_trainer_plays_the_game_written_by_hand(case, n_critic, fit, noise_batches):
    cls, arguments, optimizer, loss_d, loss_g = CASES[case]
    model = cls(latent_dim=LATENT, n_critic=n_critic, **RATES, **arguments).double()
    batches = noise_batches(STEPS * n_critic, model.image_shape, num_classes=model.num_classes)
    generator, discriminator = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    first = copy.deepcopy(generator.state_dict())

    trainer = fit(model, batches, seed=5, precision="64-true", max_steps=STEPS)
    torch.manual_seed(5)
    play_by_hand(generator, discriminator, batches, n_critic, optimizer, loss_d, loss_g, arguments.get("clip"))

    assert trainer.global_step == STEPS
    for ours, theirs in ((model.generator, generator), (model.discriminator, discriminator)):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=1e-9)
    moved = [(model.generator.state_dict()[name] - first[name]).abs().max() for name, _ in generator.named_parameters()]
    assert max(moved) > 1e-4


class Seen(WGAN):
    """A WGAN that keeps the reals each of its critic's losses is computed on."""

    def discriminator_losses(self, x):
        self.reals = [*getattr(self, "reals", []), round(x.real.unique().item() * 1000)]
        return super().discriminator_losses(x)


def small_wgan(cls=WGAN, **arguments):
    return cls(**{"point_shape": (2,), "latent_dim": 2, "hidden_dim": 4} | arguments)


def points(count, size=4):
    return [(torch.full((size, 2), index / 1000),) for index in range(count)]


def test_twenty_steps_of_wgan_are_a_hundred_updates_on_a_hundred_batches(fit, updates):
    model = small_wgan(Seen)
    trainer = fit(model, points(120), updates, max_steps=20)
    assert trainer.global_step == 20
    assert updates.names == (["discriminator"] * 5 + ["generator"]) * 20
    assert model.reals == list(range(100))
    assert model.images_seen == 400


def test_steps_span_epochs(fit, updates):
    model = small_wgan(Seen)
    trainer = fit(model, points(8), updates, max_steps=20)
    assert trainer.global_step == 20
    assert updates.names == (["discriminator"] * 5 + ["generator"]) * 20
    assert model.reals == [index % 8 for index in range(100)]


def test_max_epochs_stops_in_the_middle_of_a_step(fit, updates):
    model = small_wgan()
    trainer = fit(model, points(8), updates, max_epochs=2)
    assert trainer.global_step == 3
    assert updates.names == (["discriminator"] * 5 + ["generator"]) * 3 + ["discriminator"]
    assert model.images_seen == 16 * 4


def test_warm_up_is_a_hundred_updates_a_step(fit, updates):
    model = small_wgan(warmup_steps=2, n_critic=3)
    fit(model, points(8), updates, max_steps=4)
    order = "".join(name[0] for name in updates.names)
    assert order == "d" * 100 + "g" + "d" * 100 + "g" + "dddg" * 2
    assert model.images_seen == 206 * 4


def test_warm_up_returns_every_500th_step_as_in_the_published_code():
    """main.py of martinarjovsky/WassersteinGAN: `if gen_iterations < 25 or gen_iterations % 500 == 0: Diters = 100`."""
    model = small_wgan(warmup_steps=25)
    ahead = [step for step in range(1600) if model.critic_updates(step) == 100]
    assert ahead == [*range(25), 500, 1000, 1500]
    assert {model.critic_updates(step) for step in range(1600)} == {5, 100}


class Validated(Callback):
    """Logs, as any score would, how many steps were played when it was taken."""

    def on_validation_epoch_end(self, trainer, model):
        model.log("val/steps", float(trainer.global_step))


def rows_of(folder, column):
    (file,) = folder.rglob("metrics.csv")
    with file.open() as lines:
        return [(int(row["step"]), float(row[column])) for row in csv.DictReader(lines) if row[column]]


def test_loggers_count_steps(fit, as_loader, tmp_path):
    model = small_wgan()
    model.val_dataloader = lambda: as_loader(points(1))
    logger = CSVLogger(tmp_path)
    fit(model, points(8), Validated(), logger=logger, max_epochs=6, log_every_n_steps=2, num_sanity_val_steps=0)
    # 48 batches are 9 steps and 3 batches; a logged step is its index, from 0
    losses = rows_of(tmp_path, "generator/loss")
    assert [step for step, _ in losses] == [1, 3, 5, 7]
    images = rows_of(tmp_path, "images_seen")
    assert images == [(step, (step + 1) * 5 * 4) for step in (1, 3, 5, 7)]
    steps_by_epoch = [8 * epoch // 5 for epoch in range(1, 7)]
    assert rows_of(tmp_path, "val/steps") == [(steps - 1, steps) for steps in steps_by_epoch]


@pytest.mark.parametrize("n_critic", [1, 3])
def test_logged_losses_are_those_of_the_step(n_critic, fit, tmp_path, noise_batches):
    model = WGANGP(point_shape=(2,), latent_dim=2, hidden_dim=4, n_critic=n_critic)
    terms = []
    original = model.discriminator_losses
    model.discriminator_losses = lambda x: terms.append(original(x)) or terms[-1]
    fit(model, noise_batches(12, (2,)), logger=CSVLogger(tmp_path), max_steps=4, log_every_n_steps=1)
    last = [{name: value.item() for name, value in update.items()} for update in terms[n_critic - 1 :: n_critic]]
    for name in ("critic", "gradient_penalty"):
        assert rows_of(tmp_path, f"discriminator/{name}") == [
            (step, pytest.approx(update[name], rel=1e-5)) for step, update in enumerate(last)
        ]
    assert rows_of(tmp_path, "discriminator/loss") == [
        (step, pytest.approx(sum(update.values()), rel=1e-5)) for step, update in enumerate(last)
    ]


def test_learning_rate_monitor_counts_steps(fit, tmp_path, noise_batches):
    model = WGANGP(point_shape=(2,), latent_dim=2, hidden_dim=4, n_critic=1, lr_d=1.0, lr_g=1.0, decay_steps=8)
    monitor = LearningRateMonitor(logging_interval="step")
    fit(model, noise_batches(3, (2,)), monitor, logger=CSVLogger(tmp_path), max_steps=6, log_every_n_steps=1)
    for name in ("lr-discriminator", "lr-generator"):
        assert rows_of(tmp_path, name) == [(step, 1 - step / 8) for step in range(6)]


def test_learning_rate_monitor_counts_steps_of_several_batches(fit, tmp_path, noise_batches):
    model = WGANGP(point_shape=(2,), latent_dim=2, hidden_dim=4, n_critic=3, lr_d=1.0, lr_g=1.0, decay_steps=8)
    monitor = LearningRateMonitor(logging_interval="step")
    fit(model, noise_batches(4, (2,)), monitor, logger=CSVLogger(tmp_path), max_steps=6, log_every_n_steps=3)
    assert set(rows_of(tmp_path, "lr-discriminator")) == {(2, 1 - 2 / 8), (5, 1 - 5 / 8)}


def test_checkpoints_are_counted_in_steps(fit, tmp_path):
    keep = ModelCheckpoint(tmp_path / "kept", filename="{step}", every_n_train_steps=3, save_top_k=-1)
    fit(small_wgan(), points(8), keep, max_steps=10)
    assert sorted(path.stem for path in (tmp_path / "kept").iterdir()) == ["step=3", "step=6", "step=9"]


def test_progress_bar_shows_the_losses(fit, noise_batches):
    trainer = fit(VanillaGAN((1, 4, 4), LATENT, 8), noise_batches(4), max_steps=4, log_every_n_steps=2)
    assert set(trainer.progress_bar_metrics) == {"discriminator/loss", "generator/loss"}
    assert trainer.callback_metrics == pytest.approx(trainer.progress_bar_metrics)


def test_callbacks_may_monitor_a_loss(fit, noise_batches, tmp_path):
    best = ModelCheckpoint(tmp_path / "best", monitor="generator/loss", mode="max", every_n_train_steps=2)
    model = VanillaGAN((1, 4, 4), LATENT, 8)
    logger = CSVLogger(tmp_path)
    fit(model, noise_batches(8), best, logger=logger, max_steps=8, log_every_n_steps=2)
    logged = [loss for _, loss in rows_of(tmp_path, "generator/loss")]
    assert len(set(logged)) == 4
    assert best.best_model_score.item() == pytest.approx(max(logged))


def test_a_run_without_logging(fit, noise_batches):
    assert (
        fit(VanillaGAN((1, 4, 4), hidden_dim=8), noise_batches(3, size=4), max_steps=3, log_every_n_steps=0).global_step
        == 3
    )
