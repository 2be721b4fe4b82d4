"""What a model answers to a batch, by capability."""

import torch
from cases import batches

from gan_modules.families.capabilities import Classifies, Encodes, Samples, ScoresAnomalies, Translates


def sampled(model, batch):
    z = model.draw_latents(len(batch[0]), seed=4)
    return [made(model, z, batch, ema) for ema in (True, False)]


def made(model, z, batch, ema):
    condition = {}
    if model.num_classes and getattr(model, "generator_is_conditional", True):
        condition["labels"] = batch[1]
    if getattr(model, "vocab_size", 0):
        condition["captions"] = batch[1]
    return model.sample(len(z), z=z, ema=ema, **condition)


def sampled_alone(model, batch):
    z = model.draw_latents(len(batch[0]), seed=4)
    rows = range(len(z))
    return [torch.cat([made(model, z[i : i + 1], row(batch, i), ema) for i in rows]) for ema in (True, False)]


def translated(model, batch):
    sources = dict(zip(("AtoB", "BtoA"), batch, strict=False))
    return [model.translate(sources[direction], direction, ema=ema) for direction in model.directions for ema in (0, 1)]


def row(batch, index):
    return tuple(part[index : index + 1] for part in batch)


def in_rows(answer):
    def alone(model, batch):
        rows = [answer(model, row(batch, index)) for index in range(len(batch[0]))]
        return [torch.cat(parts) for parts in zip(*rows, strict=True)]

    return alone


def encoded(model, batch):
    return [model.encode(batch[0]), model.reconstruct(batch[0])]


def classified(model, batch):
    return [model.classify(batch[0])]


def scored(model, batch):
    return [model.anomaly_score(batch[0])]


# by capability, what a model answers to a batch, and what it answers to the batch's samples one by one
ANSWERS = {
    Samples: (sampled, sampled_alone),
    Translates: (translated, in_rows(translated)),
    Encodes: (encoded, in_rows(encoded)),
    Classifies: (classified, in_rows(classified)),
    ScoresAnomalies: (scored, in_rows(scored)),
}


def answers(model, name):
    """Return a batch, and for each of the model's capabilities the two functions of the batch."""
    (batch,) = batches(name, 1, size=5)
    found = [pair for capability, pair in ANSWERS.items() if isinstance(model, capability)]
    assert found, f"{name} can do nothing that tests/contracts/answers.py knows"
    return batch, found
