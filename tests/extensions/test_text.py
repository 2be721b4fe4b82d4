"""GAN-CLS (arXiv:1605.05396): images of captions, and a discriminator that also sees wrong captions."""

from typing import Unpack

import by_hand
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from gan_modules import GANError
from gan_modules.engine.players import adam
from gan_modules.families.latent import LatentGAN, LatentOptions
from gan_modules.functional import losses
from gan_modules.networks import MLPDiscriminator, MLPGenerator

SHAPE, LATENT, WORDS, LENGTH = (1, 4, 4), 3, 11, 5


class Captioned(nn.Module):
    """A network of vectors that also reads a caption: the mean of its words' embeddings."""

    def __init__(self, network, vocab_size, width=4):
        super().__init__()
        self.words = nn.EmbeddingBag(vocab_size, width)
        self.network = network

    def forward(self, x, tokens):
        return self.network(torch.cat([x.flatten(1), self.words(tokens)], dim=1))


class GANCLS(LatentGAN):
    """Reals with the caption of another sample count as fakes."""

    generator_is_conditional = discriminator_is_conditional = True

    def __init__(
        self, image_shape=SHAPE, vocab_size=WORDS, latent_dim=LATENT, lr=1e-2, **options: Unpack[LatentOptions]
    ):
        size = image_shape[1] * image_shape[2]
        super().__init__(
            Captioned(MLPGenerator(image_shape, latent_dim + 4, 8), vocab_size),
            Captioned(MLPDiscriminator((size + 4,), 8), vocab_size),
            image_shape=image_shape,
            vocab_size=vocab_size,
            latent_dim=latent_dim,
            optimizer_g=adam(lr, (0.5, 0.999)),
            optimizer_d=adam(lr, (0.5, 0.999)),
            **options,
        )

    def discriminator_losses(self, x):
        (tokens,) = x.condition
        wrong = self.logits(x.real, tokens.roll(1, 0))
        matching = losses.minimax_d(self.logits(x.real, tokens), self.logits(x.fake, tokens))
        return {"matching": matching, "wrong": softplus(wrong).mean()}

    def generator_losses(self, x):
        return {"adversarial": losses.non_saturating_g(self.logits(x.fake, *x.condition))}


def batches(count=by_hand.STEPS):
    return list(zip(by_hand.reals(*SHAPE, count=count), by_hand.integers(WORDS, LENGTH, count=count), strict=True))


def by_pytorch(model, batches, latents, parts=1):
    g, d = by_hand.copies(model.generator, model.discriminator)
    adam_d, adam_g = by_hand.adam(d), by_hand.adam(g)
    for (x, tokens), z in zip(batches, latents, strict=True):
        wrong = torch.cat([part.roll(1, 0) for part in tokens.chunk(parts)])  # a part knows its own captions alone
        terms = softplus(-d(x, tokens)) + softplus(d(g(z, tokens), tokens)) + softplus(d(x, wrong))
        by_hand.update(adam_d, terms.mean())
        by_hand.update(adam_g, softplus(-d(g(z, tokens), tokens)).mean())
    return g, d


@pytest.mark.parametrize("accumulate", [1, 3])
def test_it_trains_as_by_hand(accumulate):
    model = GANCLS(accumulate=accumulate)
    expected = by_pytorch(model, batches(), by_hand.draws(by_hand.normal(LATENT)), accumulate)
    by_hand.fit(model, batches())
    by_hand.assert_same([model.generator, model.discriminator], expected)


def test_samples_of_captions():
    model = GANCLS()
    x, tokens = batches()[0]
    z = model.draw_latents(len(tokens), seed=4)
    expected = model.generator_ema(z, tokens)
    assert torch.equal(model.sample(len(tokens), captions=tokens, seed=4), expected)
    assert torch.equal(model.sample_like((x.float(), tokens), seed=4), expected)


def test_captions_are_needed():
    with pytest.raises(GANError, match="pass captions, 4 rows of tokens"):
        GANCLS().sample(4)
    with pytest.raises(GANError, match="choose data with captions"):
        by_hand.fit(GANCLS(), [(x,) for x, _ in batches()])
