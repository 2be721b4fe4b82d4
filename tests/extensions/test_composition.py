"""The loop in a plain LightningModule that is no subclass of ours: the same game as the class, and an exact resume."""

import by_hand
import pytest
import torch
from lightning.pytorch import Callback, LightningModule

from datamodules import GANDataModule
from datamodules.in_memory import InMemory
from gan_modules import GANError, VanillaGAN
from gan_modules.engine.inputs import Inputs
from gan_modules.engine.loop import AlternatingLoop
from gan_modules.engine.players import Phase, Player, adam
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator

SHAPE, LATENT, CRITIC = (1, 4, 4), 3, 2
PRIOR = by_hand.normal(LATENT)


class Composed(LightningModule):
    """A GAN of one's own that has a loop, and is none of ours."""

    def __init__(self, accumulate=1, clip_norm=None):
        super().__init__()
        self.automatic_optimization = False
        self.generator = MLPGenerator(SHAPE, LATENT, 8)
        self.discriminator = MLPDiscriminator(SHAPE, 8)
        self.loop = AlternatingLoop(self, accumulate, clip_norm)

    def players(self):
        optimizer = adam(1e-2, (0.5, 0.999))
        return {"discriminator": Player(self.discriminator, optimizer), "generator": Player(self.generator, optimizer)}

    def phases(self):
        return [Phase("discriminator", self.d_losses, repeats=CRITIC), Phase("generator", self.g_losses)]

    def inputs(self, batch):
        return Inputs(batch[0], prior=PRIOR, generate=lambda x: self.generator(x.z), maker=self.generator)

    def d_losses(self, x):
        return {"minimax": losses.minimax_d(self.discriminator(x.real), self.discriminator(x.fake))}

    def g_losses(self, x):
        return {"adversarial": losses.non_saturating_g(self.discriminator(x.fake))}

    def configure_optimizers(self):
        return self.loop.configure_optimizers()

    def on_train_start(self):
        self.loop.begin()

    def training_step(self, batch, batch_idx):
        self.loop.step(batch)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["loop"] = self.loop.state_dict()

    def on_load_checkpoint(self, checkpoint):
        self.loop.load_state_dict(checkpoint["loop"], checkpoint)


class Clipped(Composed):
    def on_before_optimizer_step(self, optimizer):
        self.loop.clip(optimizer)


class Data(GANDataModule):
    """Six batches, in another order in each epoch."""

    image_shape = SHAPE

    def load(self):
        train = InMemory(torch.cat(by_hand.reals(*SHAPE, count=6)).float())
        return train, train, train


class SaveAfter(Callback):
    """Saves a checkpoint after so many batches."""

    def __init__(self, count, path):
        self.count, self.path = count, path

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.count -= 1
        if self.count == 0:
            trainer.save_checkpoint(self.path)


def batches(count=CRITIC * by_hand.STEPS):
    return [(x,) for x in by_hand.reals(*SHAPE, count=count)]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(("cls", "clip_norm"), [(Composed, None), (Clipped, 0.1)])
def test_it_is_the_game_of_the_class(cls, clip_norm, accumulate):
    options = {"accumulate": accumulate, "clip_norm": clip_norm}
    mine = cls(accumulate, clip_norm)
    ours = VanillaGAN(SHAPE, LATENT, 8, lr_g=1e-2, lr_d=1e-2, n_critic=CRITIC, ema_half_life=0, **options)
    start = {name: tensor.clone() for name, tensor in mine.state_dict().items()}
    ours.load_state_dict(start)
    trainers = [by_hand.fit(model, batches()) for model in (mine, ours)]
    assert [trainer.global_step for trainer in trainers] == [by_hand.STEPS] * 2
    assert mine.loop.images_seen == ours.images_seen == CRITIC * by_hand.STEPS * by_hand.SIZE
    torch.testing.assert_close(mine.state_dict(), ours.state_dict(), rtol=0, atol=0)
    assert all(not torch.equal(tensor, start[name]) for name, tensor in mine.state_dict().items())


@pytest.mark.parametrize("seen", range(1, 12))  # in the middle of a step or of an epoch, or at its end
def test_it_goes_on_exactly(seen, tmp_path):
    """Two epochs of six batches, and steps of two: the game is saved after `seen` batches, and goes on from there."""
    torch.manual_seed(0)
    whole, resumed = Composed(), Composed()
    resumed.load_state_dict(whole.state_dict())
    data = {"batches": Data(batch_size=by_hand.SIZE), "steps": 6, "precision": 32}
    saver = SaveAfter(seen, tmp_path / "some.ckpt")
    by_hand.fit(whole, **data, callbacks=[saver])
    by_hand.fit(resumed, **data, seed=99, ckpt_path=saver.path)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert resumed.loop.images_seen == whole.loop.images_seen == 12 * by_hand.SIZE


@pytest.mark.parametrize("steps", range(1, 6))  # the third ends with the epoch
def test_a_run_that_is_made_longer_is_the_long_run(steps, tmp_path):
    torch.manual_seed(0)
    whole, short, resumed = Composed(), Composed(), Composed()
    for model in (short, resumed):
        model.load_state_dict(whole.state_dict())
    data = {"batches": Data(batch_size=by_hand.SIZE), "precision": 32}
    by_hand.fit(whole, **data, steps=6)
    by_hand.fit(short, **data, steps=steps).save_checkpoint(tmp_path / "end.ckpt")
    by_hand.fit(resumed, **data, steps=6, seed=99, ckpt_path=tmp_path / "end.ckpt")
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_a_resume_without_its_hook_is_refused(tmp_path):
    class Late(Composed):
        on_train_start = LightningModule.on_train_start

    by_hand.fit(Late(), batches(), steps=1).save_checkpoint(tmp_path / "end.ckpt")
    with pytest.raises(GANError, match=r"Late.on_train_start must call the loop's begin"):
        by_hand.fit(Late(), batches(), ckpt_path=tmp_path / "end.ckpt")


def test_clipping_without_its_hook_is_refused():
    with pytest.raises(GANError, match="on_before_optimizer_step"):
        by_hand.fit(Composed(clip_norm=1.0), batches())
