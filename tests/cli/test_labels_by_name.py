"""``--labels cat`` draws what ``--labels`` with its number draws."""

import numpy as np
import torch
from lightning.pytorch import Trainer

from gan_modules import CGAN


def test_labels_by_name(run, complaint, tmp_path):
    torch.manual_seed(0)
    model = CGAN(image_shape=(1, 8, 8), num_classes=3, latent_dim=4, hidden_dim=8)
    model.classes = ("cat", "dog", "10")
    trainer = Trainer(accelerator="cpu", max_steps=0, logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    def drawn(*words):
        run("sample", "--ckpt_path", "last.ckpt", "--out", "out.npy", "--n", 2, "--labels", *words)
        return np.load(tmp_path / "out.npy")

    assert np.array_equal(drawn("dog"), drawn("1"))
    assert np.array_equal(drawn("dog,cat"), drawn("[1, 0]"))
    assert np.array_equal(drawn("[dog, cat]"), drawn("1,0"))
    assert not np.array_equal(drawn("dog"), drawn("cat"))
    words = ("sample", "--ckpt_path", "last.ckpt", "--out", "out.npy", "--n", 2, "--labels")
    assert complaint(*words, "dgo") == "There is no class 'dgo', did you mean 'dog'? there are cat, dog, 10."
    assert "labels must be 2 class indices from 0 to 2" in complaint(*words, "10")
