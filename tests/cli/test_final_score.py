"""What a fit says at its end is true of the checkpoints that it leaves."""

import json
import re

import pytest
import torch

CPU = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
WORDS = ["--model=DCGAN", "--model.base_channels=2", "--model.latent_dim=4", "--data=DigitsDataModule", *CPU]
SCORES = {"class_path": "gan_modules.callbacks.Scores", "init_args": {"metrics": ["fid"], "features": "digits"}}
WORDS += ["--trainer.num_sanity_val_steps=0", f"--trainer.callbacks+={json.dumps(SCORES)}", "--data.batch_size=16"]


def test_best_and_last_are_named_with_their_scores(run, tmp_path):
    words = [*WORDS, "--monitor=val/fd_digits"]
    said = run("fit", *words, "--trainer.max_steps=7", "--trainer.val_check_interval=2", "--seed_everything=1")
    (folder,) = tmp_path.rglob("checkpoints")
    score = float(re.search(r"val/fd_digits +([\d.e+]+)", said)[1])
    lines = re.findall(r"^  (\w+) +(\S+) \(([\d.]+)\)$", said, re.MULTILINE)
    found = {name: (path, float(value)) for name, path, value in lines}
    assert found.keys() == {"last", "best"}
    assert found["last"][1] == score
    recorded = [json.loads(line) for line in (folder.parent / "scores.jsonl").read_text().splitlines()]
    assert [record["step"] for record in recorded] == [2, 4, 6, 7]
    assert score == pytest.approx(recorded[-1]["value"], rel=1e-3)
    assert found["best"][1] == pytest.approx(min(record["value"] for record in recorded), rel=1e-3)
    for name, (path, value) in found.items():
        assert torch.load(tmp_path / path, weights_only=True)["global_step"] == 7 or name == "best"
        table = run("validate", *words, "--ckpt_path", tmp_path / path).replace("│", " ").split()
        assert float(table[table.index("val/fd_digits") + 1]) == pytest.approx(value, rel=1e-3)
    assert f"--ckpt_path {found['last'][0]}" in said.splitlines()[-1]
