import logging

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from datamodules import DigitsDataModule
from gan_modules import GAN, GANError, VanillaGAN
from gan_modules.callbacks import FID, Scores
from gan_modules.metrics import DigitFeatures
from gan_modules.scoring import best, compare, last, score
from gan_modules.scoring.record import read

NAMES = ["fid", "kid", "prdc"]
LOGGED = ["fd_digits", "kd_digits", "precision_digits", "recall_digits", "density_digits", "coverage_digits"]


def vanilla():
    torch.manual_seed(0)
    return VanillaGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32, lr_g=5e-3, lr_d=5e-3)


def trainer(tmp_path, *callbacks, **options):
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"logger": False, "accelerator": "cpu", "default_root_dir": tmp_path}
    return Trainer(callbacks=list(callbacks), **{**quiet, **options})


def test_what_is_logged_is_what_score_finds(tmp_path):
    model, run = vanilla(), trainer(tmp_path, scores := Scores(NAMES, "digits", num_samples=300, seed=7))
    (result,) = run.validate(model, DigitsDataModule(), verbose=False)
    found = score(model, DigitsDataModule().val_dataloader(), NAMES, "digits", n=300, seed=7)
    assert list(result) == [f"val/{name}" for name in LOGGED]
    for one, kept in zip(found, scores.scores, strict=True):
        assert result[f"val/{one.metric}"] == pytest.approx(one.value, rel=1e-5)
        assert compare(one, kept) == pytest.approx(0, abs=1e-5 * abs(one.value))
        assert (kept.reals, kept.split, kept.fakes, kept.seed) == ("DigitsDataModule", "val", "VanillaGAN", 7)
    (result,) = run.test(model, DigitsDataModule(), verbose=False)
    assert list(result) == [f"test/{name}" for name in LOGGED]
    assert {one.split for one in scores.scores[len(LOGGED) :]} == {"test"}


def test_a_fit_leaves_records_of_best_and_last(tmp_path, caplog):
    scores = Scores(["fid", "dc"], "digits")
    saver = ModelCheckpoint(tmp_path, monitor="val/fd_digits", filename="best")
    run = trainer(
        tmp_path, scores, saver, max_epochs=4, logger=CSVLogger(tmp_path, "run", ""), enable_checkpointing=True
    )
    with caplog.at_level(logging.INFO):
        run.fit(vanilla(), DigitsDataModule(batch_size=256))
    records = read(tmp_path / "run" / "scores.jsonl")
    assert records == scores.scores
    named = [record for record in records if record.metric == "fd_digits"]
    steps = 1438 // 256
    assert [record.step for record in named] == [steps, 2 * steps, 3 * steps, 4 * steps]
    assert [record.images_seen for record in named] == [256 * record.step for record in named]
    top, final = best(named), last(named)
    assert top.value == min(record.value for record in named)
    assert top.value == pytest.approx(saver.best_model_score.item())
    assert saver.best_model_path
    expected = f"best {top.value:.4g} after {top.step} steps, last {final.value:.4g} after {4 * steps}"
    assert f"fd_digits: {expected}" in caplog.text
    assert "coverage_digits: best" in caplog.text
    (rescored,) = score(GAN.load_from_checkpoint(saver.best_model_path), digits(), features="digits")
    assert compare(rescored, top) == pytest.approx(0, abs=1e-5 * top.value)


def digits():
    return DigitsDataModule().splits[1].tensors[0]


def test_the_best_outlives_an_interruption(tmp_path):
    whole, first, second = (Scores(["fid"], "digits") for _ in range(3))
    trainer(tmp_path, whole, max_epochs=4).fit(vanilla(), DigitsDataModule(batch_size=256))
    run = trainer(tmp_path, first, max_epochs=2)
    run.fit(vanilla(), DigitsDataModule(batch_size=256))
    run.save_checkpoint(tmp_path / "half.ckpt")
    more = trainer(tmp_path, second, max_epochs=4)
    more.fit(vanilla(), DigitsDataModule(batch_size=256), ckpt_path=tmp_path / "half.ckpt")
    assert second.scores == whole.scores
    assert len(second.scores) == 4
    other = FID(DigitFeatures())
    assert len({scores.state_key for scores in (whole, other, Scores(["fid", "kid"], "digits"), FID())}) == 4


@pytest.mark.parametrize(("every", "epochs"), [(1, [0, 1, 2, 3, 4]), (2, [0, 1, 3, 4]), (3, [0, 2, 4])])
def test_every_so_many_epochs_and_at_both_ends(tmp_path, every, epochs):
    class Epochs(Callback):
        def __init__(self):
            self.scored, self.known = [], 0

        def on_validation_end(self, trainer, model):
            if len(scores.scores) > self.known:
                self.scored.append(trainer.current_epoch)
            self.known = len(scores.scores)

    scores, noted = Scores(["fid"], "digits", every_n_epochs=every), Epochs()
    trainer(tmp_path, scores, noted, max_epochs=5).fit(vanilla(), DigitsDataModule(batch_size=512))
    assert noted.scored == epochs


def test_the_next_fit_computes_no_real(tmp_path):
    counts = []
    for _ in range(2):
        network = DigitFeatures()
        network.register_forward_hook(lambda module, inputs, output: counts.append(len(output)))
        scores = Scores(["fid", "pr"], network, num_samples=100, cache=tmp_path / "cache")
        trainer(tmp_path, scores, max_epochs=2).fit(vanilla(), DigitsDataModule(batch_size=512))
        counts.append(None)
    first, second = counts[: counts.index(None)], counts[counts.index(None) + 1 : -1]
    assert sum(first) == 359 + 2 * 100
    assert sum(second) == 2 * 100


def test_training_is_the_same_bit_for_bit(tmp_path):
    states = []
    for callbacks in ([], [Scores(["fid", "kid", "is", "mifid", "prdc", "duplicates", "diversity", "ppl"], "digits")]):
        model = vanilla()
        torch.manual_seed(1)
        trainer(tmp_path, *callbacks, max_epochs=2).fit(model, DigitsDataModule(batch_size=512))
        states.append(model.state_dict() | {"next": torch.rand(3)})
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_disk_that_refuses_does_not_stop_the_training(tmp_path):
    (tmp_path / "scores.jsonl").mkdir()
    with pytest.warns(UserWarning, match=r"scores.jsonl' could not be written"):
        trainer(tmp_path, Scores(["fid"], "digits")).validate(vanilla(), DigitsDataModule(), verbose=False)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"metrics": ["prcd"]}, "no metric 'prcd', did you mean 'prdc'"),
        ({"every_n_epochs": 0}, "every_n_epochs=0 of at least 1"),
        ({"seed": -1}, "seed=-1 from 0 to 65535"),
        ({"num_samples": 1}, "Scores needs at least two samples"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, sentence):
    with pytest.raises(GANError, match=sentence):
        Scores(**arguments)


def test_what_the_network_does_not_see_is_refused_before_training(tmp_path):
    model = VanillaGAN(image_shape=(2, 16, 16), hidden_dim=8)
    with pytest.raises(GANError, match="have 2 channels"):
        trainer(tmp_path, Scores(["fid"], "digits"), max_epochs=1).fit(model, torch.utils.data.DataLoader([]))


def test_a_config_file_can_ask_for_it(tmp_path):
    lines = ["callback:", "  class_path: gan_modules.callbacks.Scores", "  init_args:", "    metrics: [fid, prdc]"]
    (tmp_path / "config.yaml").write_text("\n".join([*lines, "    features: digits", "    every_n_epochs: 5"]))
    parser = ArgumentParser()
    parser.add_argument("--callback", type=Callback)
    config = parser.parse_path(tmp_path / "config.yaml")
    again = parser.instantiate(parser.parse_string(parser.dump(config))).callback
    assert (again.metrics, again.features, again.every_n_epochs) == (("fid", "prdc"), "digits", 5)
