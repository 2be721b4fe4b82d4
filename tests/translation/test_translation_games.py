"""Pix2Pix and CycleGAN against loops written by hand in the order of the authors' code."""

import copy
import itertools

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from datamodules import DigitsDataModule, PairedImagesDataModule, UnpairedImagesDataModule
from gan_modules import CycleGAN, GANError, Pix2Pix
from gan_modules.techniques.replay import ImagePool

TINY = {"base_channels": 2, "discriminator_channels": 2, "patch_layers": 1}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def batches(n, batch_size, a=(3, 16, 16), b=(3, 16, 16), dtype=torch.float32):
    """A loader that always serves the same batches in the same order."""
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(n, *shape, generator=generator, dtype=dtype) * 2 - 1 for shape in (a, b))
    return DataLoader(TensorDataset(a, b), batch_size)


def fit(model, loader, folder, epochs, ckpt_path=None, **arguments):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )
    trainer.fit(model, loader, ckpt_path=ckpt_path)
    return trainer


def assert_like(ours, theirs, tolerance=1e-6):
    for (name, tensor), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(tensor, other, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


def test_pix2pix_plays_the_published_loop(tmp_path):
    # in float64, since Adam makes whole steps of float32's rounding where a gradient is small
    model = Pix2Pix((3, 16, 16), dropout=False, epochs_constant=1, epochs_decay=1, **TINY).double()
    generator, discriminator = copy.deepcopy(model.generator), copy.deepcopy(model.discriminator)
    loader = batches(12, 4, dtype=torch.float64)
    fit(model, loader, tmp_path, epochs=2, precision="64-true")

    optimizers = [torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, discriminator)]
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda e: 1 - max(0, e + 1 - 1) / (1 + 1)) for o in optimizers]

    def bce(logits, target):
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    for _ in range(2):
        for a, b in loader:
            fake = generator(a)
            optimizers[1].zero_grad()
            of_fake = bce(discriminator(torch.cat([a, fake.detach()], 1)), 0.0)
            of_real = bce(discriminator(torch.cat([a, b], 1)), 1.0)
            ((of_fake + of_real) * 0.5).backward()
            optimizers[1].step()
            discriminator.requires_grad_(False)
            optimizers[0].zero_grad()
            (bce(discriminator(torch.cat([a, fake], 1)), 1.0) + 100 * F.l1_loss(fake, b)).backward()
            optimizers[0].step()
            discriminator.requires_grad_(True)
        for schedule in schedules:
            schedule.step()
    assert_like(model.generator, generator)
    assert_like(model.discriminator, discriminator)


class Pool:
    """The published pool's rules, on the choices of a given generator."""

    def __init__(self, size, random):
        self.size, self.images, self.random = size, [], random

    def query(self, images):
        out = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image)
                out.append(image)
            elif torch.randint(2, (), generator=self.random):
                place = int(torch.randint(self.size, (), generator=self.random))
                out.append(self.images[place])
                self.images[place] = image
            else:
                out.append(image)
        return torch.stack(out)


def published_cyclegan(model, loader, epochs, constant, decay):
    """The authors' loop: G_A, G_B, D_A, D_B by their names, after as many epochs."""
    g_a, g_b = (copy.deepcopy(model.generators[direction]) for direction in ("AtoB", "BtoA"))
    d_a, d_b = (copy.deepcopy(model.discriminators[direction]) for direction in ("AtoB", "BtoA"))
    pools = []
    for direction in ("AtoB", "BtoA"):
        random = torch.Generator()
        random.set_state(model.pools[direction].state_dict()["random"])
        pools.append(Pool(model.pools[direction].size, random))
    opt_g = torch.optim.Adam(itertools.chain(g_a.parameters(), g_b.parameters()), 2e-4, (0.5, 0.999))
    opt_d = torch.optim.Adam(itertools.chain(d_a.parameters(), d_b.parameters()), 2e-4, (0.5, 0.999))
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda e: max(0.0, 1 - max(0, e + 1 - constant) / (decay + 1)))
        for o in (opt_g, opt_d)
    ]
    mse, l1 = nn.MSELoss(), nn.L1Loss()

    def gan(logits, target):
        return mse(logits, torch.full_like(logits, target))

    for _ in range(epochs):
        for a, b in loader:
            fake_b, fake_a = g_a(a), g_b(b)
            rec_a, rec_b = g_b(fake_b), g_a(fake_a)
            for net in (d_a, d_b):
                net.requires_grad_(False)
            opt_g.zero_grad()
            identity = l1(g_a(b), b) * 12 * 0.5 + l1(g_b(a), a) * 8 * 0.5
            cycle = l1(rec_a, a) * 8 + l1(rec_b, b) * 12
            (gan(d_a(fake_b), 1.0) + gan(d_b(fake_a), 1.0) + cycle + identity).backward()
            opt_g.step()
            for net in (d_a, d_b):
                net.requires_grad_(True)
            opt_d.zero_grad()
            for net, pool, real, fake in ((d_a, pools[0], b, fake_b), (d_b, pools[1], a, fake_a)):
                shown = pool.query(fake.detach())
                ((gan(net(real), 1.0) + gan(net(shown), 0.0)) * 0.5).backward()
            opt_d.step()
        for schedule in schedules:
            schedule.step()
    return g_a, g_b, d_a, d_b


def assert_published(model, networks, tolerance=1e-6):
    ours = [model.generators["AtoB"], model.generators["BtoA"]]
    ours += [model.discriminators["AtoB"], model.discriminators["BtoA"]]
    for net, other in zip(ours, networks, strict=True):
        assert_like(net, other, tolerance)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_cyclegan_plays_the_published_loop(tmp_path, accumulate):
    arguments = {"cycle_weight_a": 8.0, "cycle_weight_b": 12.0, "pool_size": 3, "generator": "resnet_1"}
    model = CycleGAN((3, 16, 16), epochs_constant=1, epochs_decay=1, accumulate=accumulate, **arguments, **TINY)
    # a bias before InstanceNorm has no gradient but rounding, which Adam would blow up in float32
    before = copy.deepcopy(model.double())
    loader = batches(8, 2, dtype=torch.float64)
    fit(model, loader, tmp_path, epochs=3, precision="64-true")
    assert_published(model, published_cyclegan(before, loader, 3, 1, 1))


@pytest.mark.parametrize(("constant", "decay"), [(100, 100), (2, 3), (0, 4), (3, 0), (2, None)])
def test_the_schedule_in_epochs(tmp_path, constant, decay):
    model = Pix2Pix((1, 16, 16), epochs_constant=constant, epochs_decay=decay, lr_g=1.0, lr_d=0.5, **TINY)
    rates = []

    class Note(Callback):
        def on_train_batch_start(self, *_):
            rates.append([optimizer.param_groups[0]["lr"] for optimizer in model.optimizers()])

    fit(model, batches(6, 2, (1, 16, 16), (1, 16, 16)), tmp_path, epochs=7, callbacks=Note())
    expected = [1 if decay is None else max(0, 1 - max(0, e + 1 - constant) / (decay + 1)) for e in range(7)]
    assert rates == [pytest.approx([0.5 * e, e]) for e in expected for _ in range(3)]


@pytest.mark.parametrize("stop", [4, 7])  # at the end of an epoch of four batches, and within one
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, stop):
    arguments = {"generator": "resnet_1", "pool_size": 3, "epochs_constant": 1, "epochs_decay": 2, **TINY}
    loader = batches(8, 2)
    torch.manual_seed(0)
    whole = CycleGAN((3, 16, 16), **arguments)
    first = copy.deepcopy(whole)
    fit(whole, loader, tmp_path, epochs=3)
    fit(first, loader, tmp_path, epochs=3, max_steps=stop).save_checkpoint(tmp_path / "last.ckpt")
    (process,) = torch.load(tmp_path / "last.ckpt", weights_only=True)["gan_modules"]["processes"]
    second = CycleGAN((3, 16, 16), **arguments)
    for direction, pool in first.pools.items():
        saved = process["extra"][f"image_pool_{direction}"]["images"]
        assert saved.shape == (3, 3, 16, 16)
        assert torch.equal(saved, pool.state_dict()["images"])
    if stop == 4:  # in an epoch, Lightning alone serves its first batches again
        trainer = fit(second, loader, tmp_path, epochs=3, ckpt_path=tmp_path / "last.ckpt")
        assert trainer.global_step == 12
        assert_like(second, whole, tolerance=0)
        for direction, pool in whole.pools.items():
            ours, theirs = second.pools[direction].state_dict(), pool.state_dict()
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_translate_is_the_network_in_evaluation_and_leaves_no_trace():
    model = Pix2Pix((3, 64, 64), **TINY).train()
    x = torch.rand(11, 3, 64, 64) * 2 - 1
    state, noise = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    expected = copy.deepcopy(model.generator).eval()(x)
    torch.testing.assert_close(model.translate(x), expected, rtol=0, atol=1e-5)
    published = model.translate(x, stochastic=True, seed=3)
    assert torch.equal(torch.random.get_rng_state(), noise)
    assert model.generator.training
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in state.items())
    torch.manual_seed(3)
    one_by_one = torch.cat([copy.deepcopy(model.generator)(image[None]) for image in x])
    torch.testing.assert_close(published, one_by_one, rtol=0, atol=1e-5)
    assert (published - model.translate(x, stochastic=True, seed=4)).abs().max() > 1e-3  # dropout
    assert (published - expected).abs().max() > 1e-3


def test_the_average_translates_where_one_is_asked_for(tmp_path):
    model = CycleGAN((3, 16, 16), generator="resnet_0", ema_half_life=1000.0, lr_g=0.01, **TINY)
    fit(model, batches(8, 2), tmp_path, epochs=1)
    x = torch.rand(2, 3, 16, 16)
    for direction in model.directions:
        average = model.generators_ema[direction]
        torch.testing.assert_close(model.translate(x, direction), average(x), rtol=0, atol=1e-6)
        own = model.translate(x, direction, ema=False)
        torch.testing.assert_close(own, model.generators[direction](x), rtol=0, atol=1e-6)
        assert not torch.equal(own, average(x))
    assert CycleGAN((3, 16, 16), **TINY).generators_ema is None


def test_sides_of_unlike_size_and_channels(tmp_path):
    model = CycleGAN((1, 16, 24), (3, 32, 16), generator="resnet_1", identity_weight=0, pool_size=2, **TINY)
    fit(model, batches(4, 2, (1, 16, 24), (3, 32, 16)), tmp_path, epochs=1)
    assert model.translate(torch.zeros(2, 1, 16, 24)).shape == (2, 3, 16, 24)
    assert model.translate(torch.zeros(2, 3, 32, 16), "BtoA").shape == (2, 1, 32, 16)
    model = Pix2Pix((1, 16, 32), (3, 16, 32), **TINY)
    fit(model, batches(4, 2, (1, 16, 32), (3, 16, 32)), tmp_path, epochs=1)
    assert model.translate(torch.zeros(1, 1, 16, 48)).shape == (1, 3, 16, 48)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: Pix2Pix((3, 16, 16), (3, 32, 32)), r"both domains of one size, not \(3, 16, 16\) and \(3, 32, 32\)"),
        (lambda: Pix2Pix((3, 20, 20), generator="unet_16"), "UNet takes heights and widths from 16 that are multiples"),
        (lambda: Pix2Pix((3, 16, 16)), r"PatchGAN takes heights and widths from 24, not \(16, 16\)"),
        (lambda: CycleGAN((3, 30, 32)), "ResNetTranslator takes heights and widths from 8 that are multiples of 4"),
        (lambda: CycleGAN((1, 32, 32), (3, 32, 32)), "not 1 and 3: pass identity_weight=0"),
        (lambda: CycleGAN((2,)), r"CycleGAN translates images \(C, H, W\), not \(2,\) to \(2,\)"),
        (lambda: CycleGAN(pool_size=-1), "pool_size=-1"),
        (lambda: CycleGAN(epochs_decay=-1), "neither can be negative"),
    ],
)
def test_games_that_cannot_be_are_refused(build, sentence):
    with pytest.raises(ValueError, match=sentence), torch.device("meta"):
        build()


def test_translations_that_cannot_be_are_refused():
    model = Pix2Pix((3, 16, 16), (1, 16, 16), **TINY)
    with pytest.raises(GANError, match="Pix2Pix translates AtoB, not BtoA: exchange the domains"):
        model.translate(torch.zeros(1, 1, 16, 16), "BtoA")
    with pytest.raises(GANError, match=r"\(N, 3, H, W\) with H and W multiples of 16, not \(1, 1, 16, 16\)"):
        model.translate(torch.zeros(1, 1, 16, 16))
    with pytest.raises(GANError, match="multiples of 16"):
        model.translate(torch.zeros(1, 3, 16, 24))


def test_data_that_does_not_fit_is_refused_before_the_first_step(tmp_path):
    model = Pix2Pix((3, 16, 16), **TINY)
    with pytest.raises(GANError, match="Pix2Pix needs images of two domains, and DigitsDataModule has one"):
        fit(Pix2Pix((1, 16, 16), **TINY), DigitsDataModule(), tmp_path, 1)
    for name in ("0.png", "1.png"):
        Image.new("RGB", (32, 16)).save(tmp_path / name)
    data = PairedImagesDataModule(str(tmp_path), image_size=16, target_channels=1, num_workers=0)
    with pytest.raises(GANError, match=r"target_shape=\(3, 16, 16\), but PairedImagesDataModule gives \(1, 16, 16\)"):
        fit(model, data, tmp_path, 1)
    with pytest.raises(GANError, match=r"target_shape=\(3, 16, 16\), but the batch holds samples of \(1, 16, 16\)"):
        fit(model, batches(4, 2, (3, 16, 16), (1, 16, 16)), tmp_path, 1, num_sanity_val_steps=0)
    with pytest.raises(GANError, match="found a tuple of a tensor"):
        fit(model, DataLoader(TensorDataset(torch.zeros(4, 3, 16, 16)), 2), tmp_path, 1)


def test_a_run_stopped_within_an_epoch_of_unpaired_images_goes_on_exactly(tmp_path):
    colours = torch.randint(256, (2, 14, 3), generator=torch.Generator().manual_seed(0)).tolist()
    for side, shades in zip("AB", colours, strict=True):
        for part in ("train", "test"):
            (tmp_path / "data" / f"{part}{side}").mkdir(parents=True)
        for index, shade in enumerate(shades):
            folder = tmp_path / "data" / f"{'train' if index < 12 else 'test'}{side}"
            Image.new("RGB", (16, 16), tuple(shade)).save(folder / f"{index}.png")

    def run(steps, ckpt_path=None):
        torch.manual_seed(0)
        arguments = {"generator": "resnet_1", "pool_size": 3, "dropout": True, "epochs_constant": 1, "epochs_decay": 1}
        model = CycleGAN((3, 16, 16), **arguments, **TINY)
        data = UnpairedImagesDataModule(str(tmp_path / "data"), image_size=16, batch_size=2, num_workers=0)
        options = {"max_steps": steps, "limit_val_batches": 0}
        return model, fit(model, data, tmp_path, epochs=-1, ckpt_path=ckpt_path, **options)

    whole, _ = run(14)
    first, trainer = run(8)  # two of six batches into the second epoch
    trainer.save_checkpoint(tmp_path / "cut.ckpt")
    resumed, _ = run(14, tmp_path / "cut.ckpt")
    assert not torch.equal(next(first.parameters()), next(whole.parameters()))
    assert_like(resumed, whole, tolerance=0)
    for direction, pool in whole.pools.items():
        for name, tensor in pool.state_dict().items():
            assert torch.equal(resumed.pools[direction].state_dict()[name], tensor)


def test_a_pool_across_devices_is_saved_from_the_cpu():
    pool = ImagePool(2)
    pool.load_state_dict({"images": torch.ones(1, 1, 2, 2), "random": torch.Generator().get_state()})
    pool.exchange(torch.zeros(1, 1, 2, 2))
    images = pool.state_dict()["images"]
    assert images.device.type == "cpu"
    assert images.flatten(1).mean(1).tolist() == [1, 0]


def test_unseeded_stochastic_translations_differ():
    model = Pix2Pix((3, 64, 64), **TINY)  # the smallest U-Net with dropout
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    assert not torch.equal(model.translate(images, stochastic=True), model.translate(images, stochastic=True))
    seeded = [model.translate(images, stochastic=True, seed=1) for _ in range(2)]
    assert torch.equal(*seeded)
