"""What one move does to the players: who is frozen, whose gradient, of which batch, clipped to what."""

import copy

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from gan_modules import CGAN, DCGAN, WGANGP, GANError, VanillaGAN
from gan_modules.engine.loss_log import Move

SMALL = {"image_shape": (1, 4, 4), "latent_dim": 3, "hidden_dim": 8}


def flags(network):
    return {parameter.requires_grad for parameter in network.parameters()}


def gradients(network):
    return [None if p.grad is None else p.grad.clone() for p in network.parameters()]


class AfterSteps(Callback):
    """Calls `look(name, optimizer)` after each step, when the gradient it took is still there."""

    def __init__(self, look):
        self.look = look

    def on_train_start(self, trainer, model):
        for name, optimizer in zip(("discriminator", "generator"), trainer.optimizers, strict=True):
            optimizer.register_step_post_hook(lambda optimizer, *_, name=name: self.look(name, optimizer))


class AfterTurns(Callback):
    def __init__(self, look):
        self.look = look

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        self.look(batch_idx)


def test_the_resting_player_is_frozen_and_freed_again(play, noise_batches):
    model = VanillaGAN(**SMALL, n_critic=2)
    during, after = [], []

    def look(network, inputs, output):
        if output.requires_grad:
            during.append((flags(model.discriminator), flags(model.generator)))

    model.discriminator.register_forward_hook(look)
    play(
        model,
        noise_batches(4),
        AfterTurns(lambda _: after.append(flags(model.discriminator) | flags(model.generator))),
        max_steps=2,
    )
    judging, deceiving = ({True}, {False}), ({False}, {True})
    assert during == [judging] * 2 * 2 + [deceiving] + [judging] * 2 * 2 + [deceiving]  # each judges real and fake
    assert after == [{True}] * 4


def test_a_turn_of_the_discriminator_leaves_no_gradient_in_the_generator(play, noise_batches):
    model = VanillaGAN(**SMALL, n_critic=3)
    seen = []
    play(model, noise_batches(6), AfterTurns(lambda _: seen.append(gradients(model.generator))), max_steps=2)
    assert all(gradient is None for turn in seen[:2] for gradient in turn)
    for turn in seen[3:5]:
        torch.testing.assert_close(turn, seen[2], rtol=0, atol=0)
    assert any(not torch.equal(new, old) for new, old in zip(seen[5], seen[2], strict=True))


def test_the_generators_move_leaves_the_discriminators_gradient_alone(play, noise_batches):
    model = VanillaGAN(**SMALL)
    before, after = [], []

    def look(name, optimizer):
        if name == "discriminator":
            before.append(gradients(model.discriminator))

    play(
        model,
        noise_batches(3),
        AfterSteps(look),
        AfterTurns(lambda _: after.append(gradients(model.discriminator))),
        max_steps=3,
    )
    torch.testing.assert_close(after, before, rtol=0, atol=0)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_what_the_user_froze_stays_frozen(player, play, noise_batches):
    model = VanillaGAN(**SMALL)
    frozen = getattr(model, player).layers[0].requires_grad_(False)
    first = copy.deepcopy(model.state_dict())
    play(model, noise_batches(3), max_steps=3)
    assert flags(frozen) == {False}
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, first[name])}
    networks = tuple(f"{name}.layers" for name in ("generator", "discriminator"))
    expected = {name for name in first if name.startswith(networks) and not name.startswith(f"{player}.layers.0.")}
    assert changed - {name for name in first if name.startswith("generator_ema")} == expected


@pytest.mark.parametrize(("size", "parts"), [(8, 4), (8, 3), (5, 4), (6, 6)])
@pytest.mark.parametrize("cls", [VanillaGAN, WGANGP, CGAN])
def test_accumulated_parts_make_the_whole_batch(cls, size, parts, play, noise_batches):
    if cls is WGANGP:
        arguments = {"image_shape": (2,), "latent_dim": 3, "hidden_dim": 8, "n_critic": 2}
    else:
        arguments = SMALL | ({"num_classes": 3} if cls is CGAN else {})
    torch.manual_seed(0)
    whole = cls(**arguments, lr_g=1e-2, lr_d=1e-2).double()
    cut = cls(**arguments, lr_g=1e-2, lr_d=1e-2, accumulate=parts).double()
    cut.load_state_dict(whole.state_dict())
    batches = noise_batches(6, whole.image_shape, size=size, num_classes=whole.num_classes)
    for model in (whole, cut):
        play(model, batches, max_steps=3, precision="64-true")
    torch.testing.assert_close(cut.state_dict(), whole.state_dict(), rtol=0, atol=1e-8)
    assert cut.images_seen == whole.images_seen


def test_accumulation_logs_the_mean_of_the_parts(play, noise_batches):
    logged = []
    for parts in (1, 3):
        torch.manual_seed(0)
        model = CGAN(**SMALL, num_classes=3, accumulate=parts).double()
        trainer = play(
            model, noise_batches(1, size=8, num_classes=3), max_steps=1, precision="64-true", log_every_n_steps=1
        )
        logged.append(trainer.callback_metrics)
    assert logged[1]["generator/loss"].item() == pytest.approx(logged[0]["generator/loss"].item(), rel=1e-6)
    assert logged[1]["discriminator/loss"].item() == pytest.approx(logged[0]["discriminator/loss"].item(), rel=1e-6)


def test_clipping_is_torchs_own_for_each_player(play, noise_batches):
    taken = {}
    for clip_norm in (None, 0.05):
        torch.manual_seed(0)
        model = VanillaGAN(**SMALL, lr_d=0.0, lr_g=0.0, clip_norm=clip_norm)  # nobody moves: the same gradients
        steps = []
        look = AfterSteps(
            lambda name, o, steps=steps: steps.append(
                (name, [p.grad.clone() for g in o.param_groups for p in g["params"]])
            )
        )
        play(model, noise_batches(2), look, max_steps=2)
        taken[clip_norm] = steps
    assert [name for name, _ in taken[None]] == ["discriminator", "generator"] * 2
    for (_, whole), (_, clipped) in zip(taken[None], taken[0.05], strict=True):
        parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in whole]
        for parameter, gradient in zip(parameters, whole, strict=True):
            parameter.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(parameters, 0.05)
        assert norm > 0.06
        torch.testing.assert_close(clipped, [parameter.grad for parameter in parameters], rtol=1e-5, atol=0)


class Broken(WGANGP):
    """Plays well until round 3, in whose second turn one term of one player is no number."""

    player, value = "discriminator", float("nan")

    def _break(self, terms, player, term):
        late = self.trainer.global_step == 3 and (player == "generator" or self.images_seen == 3 * 2 * 6 + 12)
        return terms | {term: terms[term] * self.value} if late and player == self.player else terms

    def discriminator_losses(self, real, fake):
        return self._break(super().discriminator_losses(real, fake), "discriminator", "gradient_penalty")

    def generator_losses(self, fake):
        return self._break(super().generator_losses(fake), "generator", "critic")


class BrokenGenerator(Broken):
    player, value = "generator", float("inf")


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Broken, "The discriminator's loss term 'gradient_penalty' became nan in round 3"),
        (BrokenGenerator, "The generator's loss term 'critic' became -?inf in round 3"),
    ],
)
def test_a_loss_that_is_no_number_stops_the_run(cls, words, play, noise_batches, tmp_path):
    model = cls(image_shape=(2,), latent_dim=2, hidden_dim=4, n_critic=2)
    keep = ModelCheckpoint(tmp_path / "kept", every_n_train_steps=1, save_last=True)
    with pytest.raises(GANError, match=words):
        play(model, noise_batches(20, (2,)), keep, max_steps=10)
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    saved = torch.load(tmp_path / "kept" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 3
    again = cls.load_from_checkpoint(tmp_path / "kept" / "last.ckpt")
    assert again.sample(4, seed=0).isfinite().all()


def test_images_that_are_no_numbers_are_noticed_in_their_round(play, noise_batches):
    batches = noise_batches(5)
    batches[2][0][0] = float("inf")
    with pytest.raises(GANError, match=r"The discriminator's loss term 'minimax' became .* in round 2"):
        play(VanillaGAN(**SMALL), batches, max_steps=5)


def test_nothing_that_is_no_number_is_saved(play, noise_batches, tmp_path):
    """On a GPU, where looking at every loss would wait for it, saving looks at those that nobody has looked at."""
    model = VanillaGAN(**SMALL)
    trainer = play(model, noise_batches(3), max_steps=3)
    for round, value in ((3, 1.0), (4, float("nan")), (5, float("inf"))):
        model._ledger.enter(Move(round, "generator", {"adversarial": torch.tensor(value)}))
    with pytest.raises(GANError, match="'adversarial' became nan in round 4"):
        trainer.save_checkpoint(tmp_path / "never.ckpt")
    assert not (tmp_path / "never.ckpt").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"accumulate": 0}, "accumulate=0 must be at least 1"),
        ({"ema_half_life": -1}, "ema_half_life=-1 must be a number of images"),
        ({"clip_norm": 0}, "clip_norm=0 must be above 0"),
        ({"n_critic": 0}, "n_critic=0 must be at least 1"),
    ],
)
def test_arguments_out_of_range(arguments, words):
    with pytest.raises(GANError, match=words):
        VanillaGAN(**SMALL, **arguments)


def test_batch_too_small_for_its_parts(play, noise_batches):
    with pytest.raises(GANError, match="batch of 2 cannot be cut in accumulate=3 parts"):
        play(VanillaGAN(**SMALL, accumulate=3), noise_batches(1, size=2), max_steps=1)


def test_dcgan_judges_reals_and_fakes_in_batches_of_their_own(play, noise_batches):
    model = DCGAN(image_shape=(1, 8, 8), latent_dim=3, base_channels=2)
    sizes = []
    model.discriminator.register_forward_hook(lambda network, inputs, output: sizes.append(len(output)))
    play(model, noise_batches(1, (1, 8, 8)), max_steps=1)
    assert sizes == [6, 6, 6]
