"""Scores from the command line, of real checkpoints, folders and archives, against figures worked out here."""

import io
import re
import statistics
import sys
import zipfile
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image

from datamodules import DigitsDataModule, ToyDataModule
from gan_modules import CGAN, DCGAN, GAN, VanillaGAN
from gan_modules.cli import main
from gan_modules.functional.pixels import to_uint8
from gan_modules.metrics import DigitFeatures, mode_coverage
from gan_modules.scoring import score
from gan_modules.scoring.record import read

QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"]


def gan_modules(*words, cwd):
    """Status, output and complaints of the command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", ["gan-modules", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two runs of a DCGAN on digits, each with its best and last checkpoint; real digits as files and archive."""
    home = tmp_path_factory.mktemp("home")
    fid = '{"class_path": "FID", "init_args": {"feature": {"class_path": "gan_modules.metrics.DigitFeatures"}}}'
    last = '{"class_path": "ModelCheckpoint", "init_args": {"save_last": true, "save_on_train_epoch_end": true}}'
    best = '{"class_path": "ModelCheckpoint", "init_args": {"filename": "best", "monitor": "val/fd_digits"}}'
    for seed in (0, 1):
        logger = f'{{"class_path": "CSVLogger", "init_args": {{"save_dir": "runs", "name": "s{seed}"}}}}'
        status, _, said = gan_modules(
            *("fit", "--model=DCGAN", "--model.base_channels=2", "--data=DigitsDataModule", "--data.batch_size=256"),
            *("--trainer.max_epochs=2", f"--seed_everything={seed}", f"--trainer.logger={logger}", *QUIET),
            *(f"--trainer.callbacks=[{fid}, {last}, {best}]",),
            cwd=home,
        )
        assert status == 0, said
    real, labels = DigitsDataModule().splits[1].tensors
    (home / "real").mkdir()
    (home / "classes").mkdir()
    with zipfile.ZipFile(home / "real.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i, (image, label) in enumerate(zip(real, labels, strict=True)):
            path = home / "real" / f"{i:04d}.png"
            Image.fromarray(image[0].numpy()).save(path)
            archive.write(path, f"digits/{label}/{i:04d}.png")
        archive.writestr("__MACOSX/digits/._0001.png", b"no image")
        archive.writestr("notes.txt", b"no image")
    return home


def save(model, path):
    """A checkpoint of an untrained model."""
    trainer = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)


def rows(text):
    """A printed table: names of the columns, and cells by label."""
    header, *lines = [line for line in text.split("\n\n")[1].splitlines() if line]
    cells = {re.split(r"\s{2,}", line)[0]: re.split(r"\s{2,}", line)[1:] for line in lines}
    return header.split(), cells


DIGITS = ("--features", "digits")


def test_checkpoints_of_two_runs_by_three_seeds(home, tmp_path):
    words = ("score", "--ckpt_path", "runs/s0", "runs/s1", *DIGITS, "--n", 200, "--seeds", "0-2", "--floor", "true")
    status, out, err = gan_modules(*words, "--metrics", "fid", "prdc", "--out", tmp_path / "all.jsonl", cwd=home)
    assert status == 0, err
    assert "200 images against 359 of DigitsDataModule val; features: digits" in out
    columns, cells = rows(out)
    names = ["fd_digits", "precision_digits", "recall_digits", "density_digits", "coverage_digits"]
    assert columns == names
    labels = [label for label in cells if label.startswith("runs")]
    assert [label.rpartition(",")[0] for label in labels] == [
        f"runs/s{seed}/version_0/{name}" for seed in (0, 1) for name in ("best", "last")
    ]
    assert labels[1].endswith(f"last, {2 * (1438 // 256)} steps")
    assert list(cells)[4:] == ["DigitsDataModule train", *(f"{name}, DCGAN, ema, 2 runs" for name in ("best", "last"))]

    records = read(tmp_path / "all.jsonl")
    assert len(records) == 5 * 3 * len(names)
    real, means = DigitsDataModule().splits[1].tensors[0], []
    for seed in (0, 1):
        path = home / f"runs/s{seed}/version_0/checkpoints/last.ckpt"
        model = GAN.load_from_checkpoint(path)
        by_seed = [score(model, real, ["fid"], "digits", n=200, seed=s)[0].value for s in (0, 1, 2)]
        assert len(set(by_seed)) == 3
        of_path = [record for record in records if record.fakes == f"runs/s{seed}/version_0/checkpoints/last.ckpt"]
        values = [record.value for record in of_path if record.metric == "fd_digits"]
        assert values == pytest.approx(by_seed)
        assert {record.step for record in of_path} == {10}
        assert {record.images_seen for record in of_path} == {2560}
        mean, deviation = statistics.fmean(by_seed), statistics.stdev(by_seed)
        assert cells[labels[2 * seed + 1]][0] == f"{mean:.4g} ± {deviation:.2g}"
        means.append(mean)
    assert cells["last, DCGAN, ema, 2 runs"][0] == f"{statistics.fmean(means):.4g} ± {statistics.stdev(means):.2g}"

    train = DigitsDataModule().splits[0].tensors[0]
    floor = [record for record in records if record.fakes == "DigitsDataModule train"]
    for s in (0, 1, 2):
        chosen = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(s))[:200]]
        expected = score(chosen, real, ["fid"], "digits")[0].value
        assert next(r.value for r in floor if r.seed == s and r.metric == "fd_digits") == pytest.approx(
            expected, rel=1e-5
        )
        assert expected < min(means)


def test_records_go_to_the_runs_folder_and_grow(home):
    words = ("score", "--ckpt_path", "runs/s1/version_0/checkpoints/last.ckpt", *DIGITS, "--truncation", 0.5)
    file = home / "runs" / "s1" / "version_0" / "scores.jsonl"
    trained = len(read(file))  # what FID wrote
    for times in (1, 2):
        status, out, err = gan_modules(*words, "--ema", "false", cwd=home)
        assert status == 0, err
        assert "1 records: runs/s1/version_0/scores.jsonl" in out
        records = read(file)
        assert len(records) == trained + times
        assert (records[-1].truncation, records[-1].weights, records[-1].n_fake) == (0.5, "raw", 359)


def test_folder_and_archive_hold_the_same_images(home, tmp_path):
    model = GAN.load_from_checkpoint(home / "runs/s0/version_0/checkpoints/last.ckpt")
    fakes = to_uint8(model.sample(250, seed=5))
    for i, image in enumerate(fakes):
        (tmp_path / "fakes").mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).save(tmp_path / "fakes" / f"{i}.png")
    expected = score(fakes, DigitsDataModule().splits[1].tensors[0], ["fid", "pr"], "digits")
    common = ("score", "--fake", tmp_path / "fakes", *DIGITS, "--metrics", "fid", "pr", "--out")
    sources = (("--real", "real"), ("--real", "real.zip"), ("--data", "DigitsDataModule"))
    for i, reals in enumerate(sources):
        status, _, err = gan_modules(*common, tmp_path / f"{i}.jsonl", *reals, cwd=home)
        assert status == 0, err
        found = read(tmp_path / f"{i}.jsonl")
        assert [one.value for one in found] == pytest.approx([one.value for one in expected], rel=1e-5)
        assert {one.reals_digest for one in found} == {expected[0].reals_digest}
        assert (found[0].n_real, found[0].n_fake, found[0].seed, found[0].weights) == (359, 250, None, None)
    status, _, err = gan_modules(*common, tmp_path / "n.jsonl", "--n", 100, "--real", "real", "--seeds=[3]", cwd=home)
    assert status == 0, err
    chosen = sorted(str(i) for i in range(250))  # names in their order
    picked = torch.randperm(250, generator=torch.Generator().manual_seed(3))[:100]
    (one, *_) = read(tmp_path / "n.jsonl")
    subset = fakes[[int(chosen[i]) for i in picked]]
    by_hand = score(subset, DigitsDataModule().splits[1].tensors[0], ["fid"], "digits")[0]
    assert (one.n_fake, one.seed, one.value) == (100, 3, pytest.approx(by_hand.value, rel=1e-5))


def test_the_second_run_computes_no_real(home, tmp_path):
    seen = []

    def look(module, inputs, output):
        if type(module) is DigitFeatures:
            seen.append(len(output))

    words = ("score", "--ckpt_path", "runs/s0/version_0/checkpoints/last.ckpt", *DIGITS, "--n", 100)
    handle = torch.nn.modules.module.register_module_forward_hook(look)
    try:
        for computed in (359 + 100, 100):
            seen.clear()
            status, _, err = gan_modules(*words, "--cache", tmp_path / "cache", cwd=home)
            assert status == 0, err
            assert sum(seen) == computed
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--metrics", "fdi"), "There is no metric 'fdi', did you mean 'fid'"),
        (("--metrics", "fid", "--features", "incepton"), "There is no feature network 'incepton'"),
        (("--real", "nowhere"), "'nowhere' is neither a folder nor a zip file"),
        (("--real", "classes"), "'classes' holds no image"),
        (("--real", "real", "--floor", "true"), "leave out --data, and --floor"),
        (("--ckpt_path", "classes"), "There is no best.ckpt or last.ckpt below 'classes'"),
        (("--ckpt_path", "none.ckpt"), "There is no checkpoint at 'none.ckpt'"),
        (("--n", "1"), "Scores need at least two samples"),
        (("--seeds", "-1"), "--seeds '-1' is out of range: numbers go from 0 to 65535"),
        (("--seeds", str(2**64)), f"--seeds '{2**64}' is out of range: numbers go from 0 to 65535"),
        (("--seeds", "0-65536"), "--seeds '0-65536' is out of range"),
        (("--seeds", "0", "one"), "--seeds 'one' is no list of numbers"),
        (("--floor", "true", "--n", "5000"), "DigitsDataModule has 1438 images, fewer than 5000"),
        (("--data", "DigitsDataModule", "--data.image_size", "8"), r"makes images of \(1, 16, 16\).* are \(1, 8, 8\)"),
        (("--data", "DigitModule"), "There is no data class 'DigitModule', did you mean 'DigitsDataModule'"),
        (
            ("--data", "ToyDataModule"),
            "ToyDataModule holds samples of kind point, and those to score are of kind image",
        ),
        (
            ("--data", "PairedImagesDataModule", "--data.folder", "real"),
            "PairedImagesDataModule holds images of two domains",
        ),
        (
            ("--data", "UnpairedImagesDataModule", "--data.folder", "real"),
            "UnpairedImagesDataModule holds images of two",
        ),
        (("--data", "StreamingDataModule", "--data.folder", "real"), "There are no shards in 'real/train'"),
        (("--data", "DataError"), "There is no data class 'DataError'"),
        (("--data", "ImageDataModule"), "There is no data class 'ImageDataModule'"),
        (("--data", "lightning.pytorch.LightningDataModule"), "--data: Import path does not correspond to a sub"),
        (("--metrics", "modes"), "Stacked images have three channels, and these have 1"),
        (("--metrics", "ppl", "--floor", "true"), "Path lengths are those of a generator"),
        (("--split", "dev"), "--split"),
        (("--out", "real/0000.png/scores.jsonl"), "could not be written"),
    ],
)
def test_mistakes_end_in_one_sentence(home, words, sentence):
    common = () if "--ckpt_path" in words else ("--ckpt_path", "runs/s0/version_0/checkpoints/last.ckpt")
    network = () if "--features" in words else DIGITS
    status, out, err = gan_modules("score", *common, *network, *words, cwd=home)
    assert status == 2
    assert re.fullmatch(rf"error: .*{sentence}.*\n", err.split("\r")[-1]), err
    assert out == ""


def test_nothing_to_score_or_to_compare_with(home, tmp_path):
    assert "There is nothing to score" in gan_modules("score", *DIGITS, cwd=home)[2]
    assert "There are no real samples to compare with" in gan_modules("score", "--fake", "real", *DIGITS, cwd=home)[2]
    lonely = tmp_path / "model.ckpt"
    lonely.write_bytes((home / "runs/s0/version_0/checkpoints/last.ckpt").read_bytes())
    said = gan_modules("score", "--ckpt_path", lonely, *DIGITS, cwd=home)[2]
    assert f"No config.yaml in '{tmp_path}' names the data: pass --data" in said
    (tmp_path / "config.yaml").write_text("data:\n  class_path: os.system\n  init_args: {command: touch hacked}\n")
    said = gan_modules("score", "--ckpt_path", lonely, *DIGITS, cwd=tmp_path)[2]
    assert "names the data os.system, which is no datamodule of this library's: pass --data" in said
    assert not (tmp_path / "hacked").exists()
    for noted, sentence in (
        ("{class_path: ImageDataModule}", "names the data ImageDataModule, which is no datamodule"),
        ("{class_path: datamodules.DataError}", "names the data datamodules.DataError, which is no datamodule"),
        ("{class_path: mine.DigitsDataModule}", "names the data mine.DigitsDataModule, which is no datamodule"),
        (
            "{class_path: datamodules.DigitsDataModule, init_args: {size: 8}}",
            "arguments that DigitsDataModule does not",
        ),
        ("[]", "names the data: pass --data"),
    ):
        (tmp_path / "config.yaml").write_text(f"data: {noted}\n")
        said = gan_modules("score", "--ckpt_path", lonely, *DIGITS, cwd=tmp_path)[2]
        assert re.fullmatch(rf"error: .*{sentence}.*\n", said), said


def test_each_kind_of_run_has_a_mean_of_its_own(home, tmp_path):
    """Runs of several classes, with and without an average: nothing is mixed, and nothing refused at the end."""
    kinds = {
        "a": VanillaGAN(image_shape=(1, 16, 16), latent_dim=4, hidden_dim=8),
        "b": VanillaGAN(image_shape=(1, 16, 16), latent_dim=4, hidden_dim=8),
        "c": VanillaGAN(image_shape=(1, 16, 16), latent_dim=4, hidden_dim=8, ema_half_life=0),
        "d": VanillaGAN(image_shape=(1, 16, 16), latent_dim=4, hidden_dim=8, ema_half_life=0),
        "e": DCGAN(image_shape=(1, 16, 16), base_channels=2),
        "f": CGAN(image_shape=(1, 16, 16), hidden_dim=8),
    }
    for name, model in kinds.items():
        for when in ("best", "last") if name in "ac" else ("last",):
            save(model, tmp_path / name / "checkpoints" / f"{when}.ckpt")
    words = ("score", "--ckpt_path", *kinds, "--data", "DigitsDataModule", *DIGITS, "--n", 40, "--seeds", "0-1")
    status, out, err = gan_modules(*words, cwd=tmp_path)
    assert status == 0, err
    _, cells = rows(out)
    means = {label: cell for label, (cell,) in cells.items() if label.endswith("runs")}
    assert list(means) == ["last, VanillaGAN, ema, 2 runs", "last, VanillaGAN, raw, 2 runs"]
    of_run = {name: statistics.fmean(r.value for r in read(tmp_path / name / "scores.jsonl")[-2:]) for name in kinds}
    for label, runs in zip(means, ("ab", "cd"), strict=True):
        values = [of_run[name] for name in runs]
        assert means[label] == f"{statistics.fmean(values):.4g} ± {statistics.stdev(values):.2g}"


def test_metrics_of_fakes_alone_ask_for_no_reals(home, tmp_path):
    """Nor do they compute any, where these are only counted."""
    save(VanillaGAN(image_shape=(1, 16, 16), latent_dim=4, hidden_dim=8), tmp_path / "a.ckpt")
    save(CGAN(image_shape=(1, 16, 16), hidden_dim=8), tmp_path / "c.ckpt")
    words = ("score", *DIGITS, "--metrics", "is", "diversity", "--cache", tmp_path / "cache")
    status, out, err = gan_modules(*words, "--ckpt_path", "a.ckpt", "--n", 50, cwd=tmp_path)
    assert status == 0, err
    assert "\n50 images; features: digits" in f"\n{out}"
    status, out, err = gan_modules(*words, "--fake", home / "real.zip", cwd=tmp_path)
    assert status == 0, err
    assert "\n359 images; features: digits" in f"\n{out}"
    assert "pass --data" in gan_modules(*words, "--ckpt_path", "a.ckpt", cwd=tmp_path)[2]  # for their number
    assert "pass --data" in gan_modules(*words, "--ckpt_path", "c.ckpt", "--n", 50, cwd=tmp_path)[2]  # their classes
    for path in ("a.ckpt", "c.ckpt"):
        status, out, err = gan_modules(*words, "--ckpt_path", path, "--data=DigitsDataModule", cwd=tmp_path)
        assert status == 0, err
        assert "\n359 images; features: digits" in f"\n{out}"
    assert not (tmp_path / "cache").exists()
    found = read(tmp_path / "scores.jsonl")
    assert {(one.reals, one.split, one.n_real, one.reals_digest) for one in found} == {("", None, 0, "")}
    words = ("score", *DIGITS, "--metrics", "is", "fid", "--data", "DigitsDataModule", "--fake", home / "real.zip")
    status, out, err = gan_modules(*words, cwd=tmp_path)
    assert status == 0, err
    assert "359 images against 359 of DigitsDataModule val; features: digits" in out  # of those that compare


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_are_scored_as_what_they_were_written_from(home, tmp_path, workers):
    pytest.importorskip("litdata", reason="the extra [streaming] is not installed")
    from datamodules.streaming import write_shards

    write_shards(DigitsDataModule(), str(tmp_path / "shards"), num_workers=1, shard_size="64KB")
    arguments = {"folder": str(tmp_path / "shards"), "image_size": 16, "channels": 1, "num_classes": 10}
    arguments |= {"num_workers": workers}
    run = home / "runs/s0/version_0/checkpoints/last.ckpt"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").write_bytes(run.read_bytes())
    note = {"data": {"class_path": "datamodules.StreamingDataModule", "init_args": arguments}}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(note))
    words = ("score", *DIGITS, "--n", 50, "--floor", "true", "--ckpt_path")
    for path in (run, tmp_path / "run" / "last.ckpt"):
        status, _, err = gan_modules(*words, path, "--out", tmp_path / "all.jsonl", cwd=home)
        assert status == 0, err
    expected, floor, of_shards, other_shards = read(tmp_path / "all.jsonl")
    assert of_shards.reals == "StreamingDataModule"
    assert other_shards.fakes == "StreamingDataModule train"
    for ours, theirs in ((of_shards, expected), (other_shards, floor)):
        assert (ours.n_real, ours.split) == (theirs.n_real, theirs.split)
        assert ours.reals_digest == theirs.reals_digest
        assert ours.value == pytest.approx(theirs.value, rel=1e-5)


def test_modes_of_points(tmp_path):
    """Of checkpoints that make points, with and without classes, against the count over their samples."""
    data = ToyDataModule()
    models = {
        "a": VanillaGAN(point_shape=(2,), latent_dim=4, hidden_dim=16),
        "b": VanillaGAN(point_shape=(2,), latent_dim=4, hidden_dim=16),
        "c": CGAN(point_shape=(2,), num_classes=8, latent_dim=4, hidden_dim=16),
    }
    for name, model in models.items():
        with torch.no_grad():  # spread far enough to come by some modes
            model.generator_ema.load_state_dict({k: 3 * v for k, v in model.generator_ema.state_dict().items()})
        save(model, tmp_path / name / "last.ckpt")
    words = ("score", "--ckpt_path", *models, "--metrics", "modes")
    status, out, err = gan_modules(*words, "--data", "ToyDataModule", "--n", 900, "--seeds", "1-2", cwd=tmp_path)
    assert status == 0, err
    columns, cells = rows(out)
    assert columns == ["modes", "mode_share", "mode_kl"]
    assert list(cells)[-1] == "last, VanillaGAN, ema, 2 runs"
    assert "\n900 points\n" in f"\n{out}"
    for name, model in models.items():
        records = read(tmp_path / name / "scores.jsonl")
        for seed in (1, 2):
            labels = (torch.arange(960) * 8 // 900).clamp(max=7).split(64) if name == "c" else [None] * 15
            parts = [model.sample(64, seed=(seed << 16) + i, labels=part) for i, part in enumerate(labels)]
            expected = mode_coverage(torch.cat(parts)[:900], data.centres, data.std)
            found = {one.metric: one.value for one in records if one.seed == seed}
            assert found["modes"] == expected.modes
            assert found["mode_share"] == pytest.approx(expected.share)
            assert found["mode_kl"] == pytest.approx(expected.kl, nan_ok=True)
        assert [one.higher_is_better for one in records[:3]] == [True, True, False]
        assert {(one.network, one.n_fake, one.weights) for one in records} == {("", 900, "ema")}
        assert records[0].settings == {"centres": data.centres.tolist(), "std": data.std, "within": 3.0}
    toy = ("--data", "ToyDataModule")
    for arguments, sentence in (
        (("--metrics", "modes", "--data", "DigitsDataModule"), "DigitsDataModule holds samples of kind image"),
        (("--metrics", "modes", *toy, "--data.distribution", "rings"), "'rings' has no centres"),
        (("--metrics", "modes", *toy, "--data.distribution", "25gaussians"), "the mixture has 25 modes of .2,."),
        (("--metrics", "fid", "--features", "digits", *toy), "'digits' takes samples of kind image"),
    ):
        status, _, err = gan_modules("score", "--ckpt_path", "c/last.ckpt", *arguments, cwd=tmp_path)
        assert (status, bool(re.fullmatch(rf"error: .*{sentence}.*\n", err))) == (2, True), err
