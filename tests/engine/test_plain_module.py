"""The loop plays in any LightningModule: no class of this library is its base."""

import copy

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.nn.functional import mse_loss, softplus

from gan_modules import GANError
from gan_modules.engine.inputs import Inputs
from gan_modules.engine.loop import AlternatingLoop
from gan_modules.engine.players import Phase, Player


class Denoiser(LightningModule):
    """Somebody's own regression, with an adversary."""

    def __init__(self, accumulate=1, clip_norm=None):
        super().__init__()
        self.automatic_optimization = False
        self.network, self.adversary = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        self.loop = AlternatingLoop(self, accumulate, clip_norm)

    def players(self):
        return {
            "adversary": Player(self.adversary, lambda parameters: torch.optim.SGD(parameters, 0.3)),
            "network": Player(self.network, lambda parameters: torch.optim.SGD(parameters, 0.2)),
        }

    def phases(self):
        return [Phase("adversary", self.adversary_losses, repeats=2), Phase("network", self.network_losses)]

    def inputs(self, batch):
        noisy, clean = batch
        return Inputs(clean, (noisy,), generate=lambda x: self.network(x.condition[0]), maker=self.network)

    def adversary_losses(self, x):
        return {"logistic": softplus(-self.adversary(x.real)).mean() + softplus(self.adversary(x.fake)).mean()}

    def network_losses(self, x):
        return {"distance": mse_loss(x.fake, x.real), "adversarial": softplus(-self.adversary(x.fake)).mean()}

    def configure_optimizers(self):
        return self.loop.configure_optimizers()

    def training_step(self, batch, batch_idx):
        self.loop.step(batch)


class Clipped(Denoiser):
    def on_before_optimizer_step(self, optimizer):
        self.loop.clip(optimizer)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_a_plain_module_plays_the_game_written_by_hand(accumulate, clip_norm, fit, noise_batches):
    torch.manual_seed(0)
    model = (Clipped if clip_norm else Denoiser)(accumulate, clip_norm).double()
    network, adversary = theirs = copy.deepcopy(nn.ModuleList([model.network, model.adversary]))
    batches = [(clean + 0.1, clean) for (clean,) in noise_batches(6, (2,))]
    trainer = fit(model, batches, max_steps=3, precision="64-true", log_every_n_steps=1)
    step_d, step_g = torch.optim.SGD(adversary.parameters(), 0.3), torch.optim.SGD(network.parameters(), 0.2)

    def descend(loss, net, optimizer):
        theirs.zero_grad()
        loss.backward()
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
        optimizer.step()

    for index, (noisy, clean) in enumerate(batches):
        noisy, clean = noisy.double(), clean.double()
        fake = network(noisy).detach()
        descend(softplus(-adversary(clean)).mean() + softplus(adversary(fake)).mean(), adversary, step_d)
        if index % 2:
            fake = network(noisy)
            descend(mse_loss(fake, clean) + softplus(-adversary(fake)).mean(), network, step_g)
    torch.testing.assert_close(model.network.state_dict(), network.state_dict(), rtol=0, atol=1e-9)
    torch.testing.assert_close(model.adversary.state_dict(), adversary.state_dict(), rtol=0, atol=1e-9)
    assert trainer.global_step == 3
    assert model.loop.images_seen == 36
    logged = {"adversary/loss", "network/loss", "network/distance", "network/adversarial"}
    assert set(trainer.callback_metrics) == logged


def test_clipping_that_nobody_calls_is_refused(fit, noise_batches):
    batches = [(clean, clean) for (clean,) in noise_batches(1, (2,))]
    with pytest.raises(GANError, match=r"clip_norm needs Denoiser\.on_before_optimizer_step to call the loop's clip"):
        fit(Denoiser(clip_norm=1.0), batches, max_steps=1)
