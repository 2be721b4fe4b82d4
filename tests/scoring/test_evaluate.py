import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn

from datamodules import DigitsDataModule
from gan_modules import CGAN, GANError, VanillaGAN
from gan_modules.metrics import DigitFeatures, InceptionScore, KernelDistance, PerceptualPathLength
from gan_modules.scoring import score
from gan_modules.scoring.extraction import BLOCK_SAMPLES
from gan_modules.scoring.generation import SampleStream
from gan_modules.scoring.metric_names import METRICS
from gan_modules.scoring.record import protocol_differences


@contextmanager
def counted(network):
    """How many images pass the network."""
    seen = [0]

    def count(module, inputs, output):
        seen[0] += len(output)

    handle = network.register_forward_hook(count)
    yield seen
    handle.remove()


def vanilla(seed=0):
    torch.manual_seed(seed)
    return VanillaGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32)


def digits(split=1):
    return DigitsDataModule().splits[split].tensors


def images(n, seed=0, shape=(1, 16, 16)):
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def frechet(a, b):
    with torch.no_grad():
        a, b = (DigitFeatures()(x).double().numpy() for x in (a, b))
    root = sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    traces = np.trace(np.cov(a, rowvar=False)) + np.trace(np.cov(b, rowvar=False)) - 2 * np.trace(root)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + traces)


def test_a_model_by_hand(tmp_path):
    model, (real, labels) = vanilla(), digits()
    model.images_seen = 77
    batches = zip(real.split(100), labels.split(100), strict=True)
    (found,) = score(model, batches, features="digits", seed=3, truncation=0.5, batch_size=50, cache=tmp_path)
    fake = torch.cat([model.sample(50, seed=(3 << 16) + i, truncation=0.5) for i in range(8)])[: len(real)]
    fake = torch.from_numpy(np.rint((fake.numpy() + 1) * 127.5).astype(np.uint8))
    assert found.value == pytest.approx(frechet(real, fake), rel=1e-4)
    assert (found.metric, found.network, found.higher_is_better) == ("fd_digits", "digits", False)
    assert (found.n_real, found.n_fake, found.seed, found.truncation) == (359, 359, 3, 0.5)
    assert (found.weights, found.images_seen, found.fakes) == ("ema", 77, "VanillaGAN")
    assert found.sha256 == DigitFeatures().sha256
    (raw,) = score(model, real, features="digits", ema=False, n=100, cache=tmp_path)
    assert (raw.weights, raw.n_fake) == ("raw", 100)
    assert raw.value != found.value
    assert raw.reals_digest == found.reals_digest


def test_all_metrics_look_at_the_same_features(tmp_path):
    names = ["fid", "kid", "is", "mifid", "prdc", "pr", "duplicates", "diversity"]
    network, real = DigitFeatures(), digits()[0]
    with counted(network) as seen:
        found = score(vanilla(), real, names, network, n=200, cache=tmp_path)
    assert seen[0] == 359 + 200
    by_name = {one.metric: one for one in found}
    assert list(by_name) == [
        *("fd_digits", "kd_digits", "is_digits", "mifd_digits", "precision_digits", "recall_digits"),
        *("density_digits", "coverage_digits", "duplicates_digits", "memorised_digits", "diversity_digits"),
    ]
    assert by_name["kd_digits"].settings == {"subset_size": 1000, "subsets": 100}
    assert by_name["precision_digits"].settings == {"k": 3}
    assert by_name["coverage_digits"].settings == {"k": 5}
    assert by_name["is_digits"].std > 0
    assert by_name["fd_digits"].std is None
    higher = {name for name, one in by_name.items() if one.higher_is_better}
    assert {name.removesuffix("_digits") for name in higher} == {
        *("is", "precision", "recall", "density", "coverage", "diversity"),
    }
    alone = {name: score(vanilla(), real, [name], "digits", n=200, cache=tmp_path) for name in ("pr", "is")}
    assert [one.value for one in alone["pr"]] == [by_name["precision_digits"].value, by_name["recall_digits"].value]
    assert alone["is"][0].value == by_name["is_digits"].value


def test_a_network_may_have_any_name():
    network = DigitFeatures()
    network.name = "my_std"
    found = score(images(80), images(90, 1), ["fid", "kid"], network)
    assert [(one.metric, one.std is None) for one in found] == [("fd_my_std", True), ("kd_my_std", False)]
    metric = KernelDistance(network)
    metric.update(images(9), real=True)
    metric.update(images(9, 1), real=False)
    assert (metric.names, metric.deviation) == (("kd_my_std",), "kd_std_my_std")
    assert list(metric.compute()) == [*metric.names, metric.deviation]


def test_metrics_of_fakes_alone_take_no_reals(tmp_path):
    """Neither are their features computed or kept, nor do the records name them; the scores are the same."""
    names, network, real = ["is", "diversity", "ppl"], DigitFeatures(), images(80)
    beside = {one.metric: one for one in score(vanilla(), real, [*names, "fid"], "digits", n=60, cache=tmp_path / "a")}
    with counted(network) as seen:
        shown = score(vanilla(), real, names, network, n=60, cache=tmp_path / "b")
        assert seen[0] == 60
        alone = score(vanilla(), None, names, network, n=60, cache=tmp_path / "b")
        assert seen[0] == 120
    assert not (tmp_path / "b").exists()
    for found in (shown, alone):
        assert [(one.metric, one.value) for one in found] == [
            (name, beside[name].value) for name in ("is_digits", "diversity_digits", "ppl_digits")
        ]
        assert {(one.n_real, one.reals_digest, one.n_fake) for one in found} == {(0, "", 60)}
        assert not any(map(protocol_differences, found, (beside[one.metric] for one in found)))
    assert (beside["fd_digits"].n_real, len(beside["fd_digits"].reals_digest)) == (80, 16)
    assert score(vanilla(), real, ["is"], network)[0].n_fake == 80  # their number is still the default
    metric = InceptionScore(network)
    with counted(network) as seen:
        metric.update(real, real=True)
        assert seen[0] == 0


def test_stacks_need_no_features_of_the_whole_image(tmp_path):
    network = DigitFeatures()
    with counted(network) as seen:
        score(images(8, shape=(3, 16, 16)), images(9, 1, (3, 16, 16)), ["modes"], network, cache=tmp_path)
    assert seen[0] == 3 * (8 + 9)


def test_path_lengths_see_the_generator():
    model, real = vanilla(), images(64)
    found = {one.metric: one for one in score(model, real, ["ppl", "fid"], "digits", n=100, batch_size=40)}
    by_hand = PerceptualPathLength("digits")
    for i, count in enumerate((40, 40, 20)):
        source = torch.Generator().manual_seed(i)
        a, b = torch.randn(2, 40, 8, generator=source)
        places = torch.rand(40, generator=source)
        by_hand.update(lambda z: model.sample(len(z), z=z), a[:count], b[:count], places[:count])
    assert found["ppl_digits"].value == pytest.approx(float(by_hand.compute()["ppl_digits"]), rel=1e-6)
    assert not found["ppl_digits"].higher_is_better
    assert [one.metric for one in score(real, real, ["ppl", "fid"], "digits")] == ["fd_digits"]  # without a generator


def test_stacked_modes_are_counted_channel_by_channel():
    """Twelve stacks of digits against all: each channel must pass by itself."""
    greys, labels = digits()
    network = DigitFeatures()
    with torch.no_grad():
        sure = network.classify(greys).argmax(1) == labels
    chosen = torch.stack([greys[sure][labels[sure] == digit][0] for digit in range(10)])
    fakes = torch.stack([torch.cat([chosen[a], chosen[b], chosen[7]]) for a in (0, 3, 4, 9) for b in (1, 5, 8)])
    reals = torch.cat([greys[:300:3], greys[1:300:3], greys[2:300:3]], dim=1)
    modes, divergence = score(fakes.repeat(3, 1, 1, 1), reals, ["modes"], network)
    assert (modes.metric, modes.value, modes.higher_is_better) == ("modes_digits", 12, True)
    with torch.no_grad():
        seen = network.classify(reals.flatten(0, 1)[:, None]).argmax(1).view(-1, 3) @ torch.tensor([100, 10, 1])
    q = (1 + seen.bincount(minlength=1000)) / 1100
    reached = [100 * a + 10 * b + 7 for a in (0, 3, 4, 9) for b in (1, 5, 8)]
    assert divergence.value == pytest.approx(sum(math.log(1 / 12 / q[mode]) / 12 for mode in reached))
    assert not divergence.higher_is_better


def test_classes_are_as_frequent_as_the_reals():
    model = CGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32)
    counts = torch.tensor([0, 0, 60, 0, 20, 0, 0, 0, 0, 1])
    for n, expected in ((81, counts), (162, 2 * counts)):
        labels = torch.cat([part for _, part in SampleStream(model, 16, 0, condition_counts=counts).batches(n)])[:n]
        assert torch.equal(labels.bincount(minlength=10), expected)
    with pytest.raises(GANError, match="the reals come without labels"):
        score(model, images(30), features="digits")


def test_seeds_have_no_sample_in_common():
    model = vanilla()
    drawn = [torch.cat(list(SampleStream(model, 8, seed).samples(40))) for seed in (0, 1, 2, 65_535)]
    together = torch.cat(drawn).flatten(1)
    assert len(together.unique(dim=0)) == len(together) == 160


# ---- The features of reals on the disk ---------------------------------------------------------------------------


def test_the_second_run_computes_no_real(tmp_path):
    real = digits(0)[0]  # of more than one block
    assert len(real) > BLOCK_SAMPLES
    network = DigitFeatures()
    with counted(network) as seen:
        (first,) = score(images(50), real, features=network, cache=tmp_path)
        assert seen[0] == 1438 + 50
        (second,) = score(images(50), real.split(17), features=DigitFeatures(), cache=tmp_path, batch_size=9)
        (third,) = score(images(50), real.split(100), features=network, cache=tmp_path)
        assert seen[0] == 1438 + 50 + 50
        assert first.value == third.value == pytest.approx(second.value, rel=1e-5)
        assert first.reals_digest == second.reals_digest


@pytest.mark.parametrize("change", ["pixel", "weights", "resizer", "shape", "file", "order"])
def test_what_is_not_the_same_is_computed(tmp_path, change):
    real = images(20)
    score(images(9, 1), real, features=DigitFeatures(), cache=tmp_path)
    network = DigitFeatures()
    if change == "pixel":
        real = real.clone()
        real[13, 0, 5, 5] += 1
    elif change == "weights":
        network.sha256 = "another"
    elif change == "resizer":
        network.resizer = "another"
    elif change == "shape":
        real = real.view(20, 1, 8, 32)
    elif change == "order":
        real = real.flip(0)
    else:
        (path,) = tmp_path.rglob("*.safetensors")
        data = bytearray(path.read_bytes())
        data[-3] ^= 4
        path.write_bytes(data)
    with counted(network) as seen:
        (found,) = score(images(9, 1), real, features=network, cache=tmp_path)
        assert seen[0] == 20 + 9
        (again,) = score(images(9, 1), real, features=network, cache=tmp_path)
        assert seen[0] == 20 + 9 + 9
    assert found.value == again.value == pytest.approx(frechet(real, images(9, 1)), rel=1e-3)


def test_a_block_that_a_kill_left_out_is_all_that_is_missing(tmp_path):
    real, network = digits(0)[0], DigitFeatures()
    score(images(9), real, features=network, cache=tmp_path)
    last = min(tmp_path.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    last.unlink()
    with counted(network) as seen:
        score(images(9), real, features=network, cache=tmp_path)
    assert seen[0] == 1438 - BLOCK_SAMPLES + 9


def test_modules_of_others_are_never_looked_up(tmp_path):
    class Pixels(nn.Flatten):
        num_features = 256

        def forward(self, images):
            return super().forward(images).float()

    class Mine(DigitFeatures):
        pass

    for network in (Pixels(), Mine()):
        for _ in range(2):
            with counted(network) as seen:
                score(images(300), images(300, 1), features=network, cache=tmp_path)
            assert seen[0] == 600
    assert not list(tmp_path.iterdir())


def test_blocks_are_small_where_images_are_large(tmp_path):
    large = images(3, shape=(1, 4096, 8192))  # 32 MiB each
    score(images(3), large, features="digits", cache=tmp_path)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


# ---- Mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"metrics": ["fdi"]}, "There is no metric 'fdi', did you mean 'fid'"),
        ({"metrics": []}, "Name at least one metric"),
        ({"metrics": ["is"], "features": nn.Sequential()}, "needs an attribute num_features"),
        ({"features": "digitz"}, "There is no feature network 'digitz'"),
        ({"fakes": images(1)}, "at least two fake samples"),
        ({"reals": images(1)}, "at least two real samples"),
        ({"fakes": images(4, shape=(2, 16, 16))}, "have 2 channels"),
        ({"metrics": ["modes"]}, "Stacked images have three channels, and these have 1"),
        ({"metrics": ["is", "fid"], "reals": None}, "is fid of these fakes needs real samples: pass reals"),
        (
            {"metrics": ["is"], "reals": None, "fakes": CGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32)},
            "is of these fakes needs real samples",
        ),
        ({"fakes": vanilla(), "seed": 65_536}, "seed=65536 must be from 0 to 65535"),
        ({"metrics": ["is"], "reals": None, "fakes": vanilla()}, "no default number of samples to score: pass n"),
    ],
)
def test_mistakes_end_in_a_sentence(arguments, sentence):
    with pytest.raises(GANError, match=sentence) as caught:
        score(**{"fakes": images(30), "reals": images(30, 1), "features": "digits"} | arguments)
    assert "\n" not in str(caught.value)


def test_every_name_has_its_metrics():
    found = [metric for kinds in METRICS.values() for metric in kinds]
    assert len(set(found)) == 10
