"""Batches of any form train what the plain tuple trains, and are scored, drawn and predicted alike."""

import copy
import json
import re
import warnings
from collections import UserDict

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader

from gan_modules import CGAN, DCGAN, CycleGAN, GANError, Pix2Pix, VanillaGAN
from gan_modules.callbacks import Diagnose, PairScores, SampleGrid, Scores, TranslationFID, TranslationGrid
from gan_modules.families.batches import check_shape, columns, domains

SHAPE, CLASSES = (1, 8, 8), 3
PATCHES = {"image_shape": (3, 8, 8), "base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


class Means(nn.Module):
    """Two features of an image."""

    num_features, name = 2, "means"

    def forward(self, images):
        pixels = images.flatten(1).float()
        return torch.stack([pixels.mean(1), pixels.std(1)], 1)


def cgan():
    torch.manual_seed(0)
    return CGAN(image_shape=SHAPE, latent_dim=3, hidden_dim=4, num_classes=CLASSES)


def trainer(tmp_path, *callbacks, **options):
    return Trainer(accelerator="cpu", callbacks=[*callbacks], default_root_dir=tmp_path, **QUIET | options)


def loader(batches):
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch, generator=torch.Generator())


FORMS = {
    "list": lambda x, y: [x, y],
    "hugging face": lambda x, y: {"image": x, "label": y},
    "processor": lambda x, y: UserDict({"labels": y, "pixel_values": x}),
    "img": lambda x, y: {"img": x, "fine_label": y, "name": ["a"] * len(x)},
    "capitals": lambda x, y: {"Image": x, "Label": y},
    "numpy": lambda x, y: (x.numpy(), y.numpy()),
    "numpy dict": lambda x, y: {"image": x.numpy().astype(">f8"), "label": y.numpy().astype(np.int16)},
    "float64": lambda x, y: (x.double(), y),
    "narrow labels": lambda x, y: (x, y.to(torch.uint8)),
    "column of labels": lambda x, y: (x, y.int()[:, None]),
    "list of labels": lambda x, y: (x, y.tolist()),
    "third entry": lambda x, y: (x, y, ["name"] * len(x)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_scores_and_predicts_like_a_tuple(form, tmp_path, noise_batches):
    plain = noise_batches(3, SHAPE, size=8, num_classes=CLASSES)
    results = []
    for name, batches in (("plain", plain), (form, [FORMS[form](*batch) for batch in plain])):
        model, folder = cgan(), tmp_path / name
        scores = Scores(["fid"], features=Means(), num_samples=16, cache=folder / "cache")
        doctor = Diagnose(every_n_steps=2, num_samples=8)
        one = trainer(folder, scores, doctor, SampleGrid(4), max_steps=3)
        one.fit(model, loader(batches), loader(batches))
        torch.manual_seed(1)
        predicted = torch.cat(trainer(folder).predict(model, loader(batches)))
        figures = json.loads((folder / "diagnostics.jsonl").read_text().splitlines()[-1])
        results.append((model.state_dict(), [score.value for score in scores.scores], figures, predicted))
    (weights, scores, figures, predicted), (others, *found) = results
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    assert scores
    assert found[:2] == [scores, figures]
    assert torch.equal(found[2], predicted)


def test_halves_are_cast(noise_batches):
    (x, y), *_ = noise_batches(1, SHAPE, num_classes=CLASSES)
    for half in (torch.float16, torch.bfloat16):
        samples, labels = cgan().columns((x.to(half), y))
        assert samples.dtype == torch.float32
        torch.testing.assert_close(samples, x, rtol=0, atol=1e-2)
        assert labels is y
    assert cgan().double().columns((x, y))[0].dtype == torch.float64


TWO_FORMS = {
    "list": lambda a, b: [a, b],
    "dict": lambda a, b: {"A": a, "B": b, "A_paths": ["x"] * len(a)},
    "names": lambda a, b: {"input": a.numpy(), "target": b},
    "batches of their own": lambda a, b: [[a, torch.zeros(len(a))], {"image": b, "label": torch.zeros(len(b))}],
    "float64": lambda a, b: (a.double(), b.half().double()),
}


@pytest.mark.parametrize("form", TWO_FORMS)
def test_every_form_of_two_domains(form, tmp_path, noise_batches):
    plain = [(a, b.half().float()) for (a,), (b,) in zip(*[iter(noise_batches(4, (3, 8, 8)))] * 2, strict=True)]
    results = []
    for name, batches in (("plain", plain), (form, [TWO_FORMS[form](*batch) for batch in plain])):
        torch.manual_seed(0)
        model = Pix2Pix(**PATCHES, dropout=False)
        seen = [TranslationFID(Means(), kid_subset_size=4), PairScores(), TranslationGrid(2)]
        one = trainer(tmp_path / name, *seen, max_steps=2)
        one.fit(model, loader(batches), loader(batches))
        logged = {key: float(value) for key, value in one.callback_metrics.items()}
        results.append((model.state_dict(), logged, torch.cat(trainer(tmp_path).predict(model, loader(batches)))))
    (weights, logged, predicted), (others, *found) = results
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    assert found[0] == logged
    assert {"val/l1_AtoB", "val/fd_means_AtoB"} <= logged.keys()
    assert torch.equal(found[1], predicted)


@pytest.mark.parametrize("several", ["dict", "list", "combined"])
def test_two_loaders_of_unlike_lengths_train_a_translation(several, tmp_path, noise_batches):
    images = torch.cat([batch[0] for batch in noise_batches(4, (3, 8, 8))])
    a, b = DataLoader(images[:11], 4), DataLoader(images[:6], 4)
    loaders = {"dict": {"A": a, "B": b}, "list": [a, b], "combined": CombinedLoader({"A": a, "B": b}, "max_size_cycle")}
    sizes = []

    class Watched(CycleGAN):
        def inputs(self, batch):
            sizes.append([len(part) for part in batch])
            return super().inputs(batch)

    torch.manual_seed(0)
    model = Watched(**PATCHES, generator="resnet_1")
    trainer(tmp_path, max_epochs=1).fit(model, loaders[several])
    assert sizes == [[4, 4], [2, 2], [3, 3]]
    assert model.images_seen == 9


def test_validation_has_several_loaders(tmp_path, noise_batches):
    first, second = (loader(noise_batches(2, SHAPE, size=8, num_classes=CLASSES)[k:]) for k in (0, 1))
    model = cgan()

    def scores(loaders, run):
        callback = Scores(["fid"], features=Means(), num_samples=16, cache=tmp_path / run)
        one = trainer(tmp_path / run, callback, Diagnose(1, 8), SampleGrid(4), max_steps=2)
        torch.manual_seed(0)
        one.fit(copy.deepcopy(model), first, loaders)
        tested = trainer(tmp_path / run, callback).test(model, loaders, verbose=False)
        return float(one.callback_metrics["val/fd_means"]), tested[0]

    alone = scores(first, "alone")
    with pytest.warns(UserWarning, match="first loader alone"):
        assert scores([first, second], "several") == alone
    predicted = trainer(tmp_path).predict(model, [first, second])
    assert [len(batches) for batches in predicted] == [2, 1]


def test_translations_are_validated_on_several_loaders(tmp_path, noise_batches):
    (a,), (b,) = noise_batches(2, (3, 8, 8))
    model = Pix2Pix(**PATCHES)
    callbacks = [PairScores(), TranslationFID(Means(), kid_subset_size=4), TranslationGrid(2)]
    first, second = loader([(a, b)]), loader([(b, a)])
    alone = trainer(tmp_path, *callbacks).validate(model, first, verbose=False)
    with pytest.warns(UserWarning, match="first loader alone"):
        both = trainer(tmp_path, *callbacks).validate(model, [first, second], verbose=False)
    assert {name: value for part in both for name, value in part.items()} == alone[0]
    assert len(trainer(tmp_path).predict(model, [first, second])) == 2


X = torch.rand(6, *SHAPE) * 2 - 1
Y = torch.zeros(6, dtype=torch.int64)
REFUSED = {
    "unknown entries": ({"pictures": X}, "a dict of pictures"),
    "a batch from each loader": ([[X, Y], [X, Y]], "ConcatDataset"),
    "no tensors": (["a", "b"], "a tuple of a str"),
    "two domains": ({"A": X, "B": X}, "a dict of A, B"),
    "bytes": ((X.mul(100).to(torch.uint8), Y), r"x / 127.5 - 1"),
    "no labels": ({"image": X}, "needs (samples, labels)"),
    "float labels": ((X, Y.float()), "y.long()"),
    "labels from 1": ((X, Y + 3), "num_classes=4"),
    "negative labels": ((X, Y - 1), "from -1 to -1"),
    "not collated": ((X[0], Y[:1]), "add an axis"),
    "channels last": ((torch.rand(6, 8, 8, 1), Y), "x.permute(0, 3, 1, 2)"),
    "channels last, other size": ((torch.rand(6, 9, 7, 1), Y), "x.permute(0, 3, 1, 2)"),
    "no channels": ((X[:, 0], Y), "x.unsqueeze(1)"),
    "another size": ((torch.rand(6, 1, 9, 9), Y), "pass image_shape=(1, 9, 9)"),
    "flat": ((X.flatten(1), Y), "bring samples of (1, 8, 8)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_is_named(case, tmp_path):
    batch, words = REFUSED[case]
    with pytest.raises(GANError, match=re.escape(words)):
        trainer(tmp_path, max_steps=1).fit(cgan(), loader([batch]))


def test_channels_after_frames_are_named():
    with pytest.raises(GANError, match=re.escape("x.transpose(1, 2)")):
        check_shape(torch.rand(2, 8, 3, 4, 4), (3, 8, 4, 4), "video_shape", "Mine")


A = torch.rand(4, 3, 8, 8) * 2 - 1
REFUSED_PAIRS = {
    "unlike numbers": ((A, A[:3]), "found 4 of A and 3 of B"),
    "one domain": ((A,), "images of two domains"),
    "one image's dict": ({"image": A}, "images of two domains"),
    "channels last": ((A, A.permute(0, 2, 3, 1)), "x.permute(0, 3, 1, 2)"),
    "labels": ((A, torch.zeros(4)), "target_shape=(3, 8, 8)"),
    "bytes": ((A, A.to(torch.uint8)), "x / 127.5 - 1"),
}


@pytest.mark.parametrize("case", REFUSED_PAIRS)
def test_what_is_no_pair_is_named(case, tmp_path):
    batch, words = REFUSED_PAIRS[case]
    with pytest.raises(GANError, match=re.escape(words)):
        trainer(tmp_path, max_steps=1).fit(Pix2Pix(**PATCHES), loader([batch]))


def test_one_domain_at_a_time_cannot_be_compared(tmp_path):
    loaders = {"A": DataLoader(A, 4), "B": DataLoader(A, 4)}  # of which Lightning validates one after the other
    with pytest.raises(GANError, match="CombinedLoader"):
        trainer(tmp_path, PairScores()).validate(Pix2Pix(**PATCHES), loaders, verbose=False)


def test_several_loaders_of_samples_are_said(tmp_path):
    model = VanillaGAN(image_shape=SHAPE, hidden_dim=4)
    with pytest.warns(UserWarning, match="first of 2 loaders"):
        trainer(tmp_path, max_steps=1).fit(model, [DataLoader(X, 3), DataLoader(X, 3)])


def test_a_model_may_read_its_batches_itself(tmp_path):
    class Mine(VanillaGAN):
        def inputs(self, batch):
            return super().inputs((batch["fine"].half().float(), batch["coarse"]))

    trainer(tmp_path, max_steps=1).fit(Mine(image_shape=SHAPE, hidden_dim=4), loader([{"fine": X, "coarse": Y}]))


def test_a_tuple_is_handed_on_as_it_is():
    batch = (X, Y)
    assert all(ours is theirs for ours, theirs in zip(columns(batch), batch, strict=True))
    assert all(ours is theirs for ours, theirs in zip(domains((X, X)), (X, X), strict=True))


RANGES = {
    "[0, 1]": X.abs(),
    "[0, 255]": (X.abs() * 255).round(),
    "[-2, 1.5]": (X * 3).clamp(-2, 1.5),
    "[-0.5, 0.5]": X / 2,
}


@pytest.mark.parametrize("found", RANGES)
def test_reals_in_another_range_are_said_once(found, tmp_path):
    model = DCGAN(image_shape=SHAPE, base_channels=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        one = trainer(tmp_path, max_steps=3)
        one.fit(model, loader([(RANGES[found],)] * 3), loader([(RANGES[found],)] * 2))
    said = [str(warning.message) for warning in caught if "first batch" in str(warning.message)]
    assert len(said) == 1
    assert found in said[0]
    with pytest.warns(UserWarning, match="first batch"):  # also where it is only tested
        trainer(tmp_path).test(model, loader([(RANGES[found],)]), verbose=False)


@pytest.mark.parametrize("reals", [X, X * 1.1, X.clamp(0.2, 1) - 0.21, torch.zeros_like(X)])
def test_reals_in_range_are_not_remarked_on(reals, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path, max_steps=1).fit(DCGAN(image_shape=SHAPE, base_channels=2), loader([(reals,)]))
    assert not [warning for warning in caught if "first batch" in str(warning.message)]


def test_the_range_of_either_domain_is_said(tmp_path):
    with pytest.warns(UserWarning, match="images of domain B of the first batch lie in \\[0, 1\\]"):
        trainer(tmp_path, max_steps=1).fit(Pix2Pix(**PATCHES), loader([(A, A.abs())]))
    with pytest.warns(UserWarning, match=r"domain A .* \[0, 255\]"):
        trainer(tmp_path).predict(Pix2Pix(**PATCHES), loader([(A.abs() * 255,)]))


def test_points_may_lie_anywhere(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path, max_steps=1).fit(
            VanillaGAN(point_shape=(2,), hidden_dim=4), loader([(torch.rand(6, 2) * 9,)])
        )
    assert not [warning for warning in caught if "first batch" in str(warning.message)]
