"""Two processes over gloo find what one finds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, os, sys
import torch
from torch import distributed
from datamodules import DigitsDataModule
from gan_modules import CGAN
from gan_modules.scoring import Evaluator
from gan_modules.scoring.cache import FeatureCache
from gan_modules.scoring.metric_names import build_metrics
from gan_modules.metrics import DigitFeatures

torch.set_num_threads(1)
folder, processes = sys.argv[1], int(os.environ.get("WORLD_SIZE", "1"))
rank = int(os.environ.get("RANK", "0"))
if processes > 1:
    distributed.init_process_group("gloo")
torch.manual_seed(0)
model = CGAN(image_shape=(1, 16, 16), latent_dim=8, hidden_dim=32)
with torch.no_grad():
    model.generator_ema.embedding.weight.mul_(20)
names = ["fid", "kid", "is", "mifid", "prdc", "duplicates", "diversity", "ppl"]
evaluator = Evaluator(
    build_metrics(names, DigitFeatures()), num_classes=10, cache=FeatureCache(folder), batch_size=20
)
images, labels = DigitsDataModule().splits[1].tensors
for part in range(rank, 12, processes):
    evaluator.add_reals(images[part * 30 : part * 30 + 30], labels[part * 30 : part * 30 + 30])
evaluator.end_reals()
for seed, n in ((0, 150), (1, 150), (2, 15)):  # of 15, which are a batch, the second process has none
    scores = evaluator.evaluate(model, n, seed, progress=False)
    json.dump([score.to_json() for score in scores], open(f"{folder}/{processes}_{rank}_{seed}.json", "w"))
"""


def test_two_processes_score_as_one(tmp_path):
    script = tmp_path / "score.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, tmp_path], env=environment, check=True, timeout=200)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script, tmp_path]
    subprocess.run([sys.executable, *words], env=environment, check=True, timeout=200)
    values = []
    for seed, n in ((0, 150), (1, 150), (2, 15)):
        alone, first, second = (
            [json.loads(line) for line in json.loads((tmp_path / f"{name}_{seed}.json").read_text())]
            for name in ("1_0", "2_0", "2_1")
        )
        assert first == second
        assert len(alone) == 12
        for one, two in zip(alone, first, strict=True):
            # features are float32, and their last bits depend on the batch that an image falls into
            assert two.pop("value") == pytest.approx(one["value"], rel=1e-5), one["metric"]
            assert two.pop("std") == (one["std"] if one["std"] is None else pytest.approx(one["std"], rel=1e-4))
            values.append(one.pop("value"))
            del one["std"]
            assert two == one
        assert {one["n_fake"] for one in alone} == {n}
        assert {one["metric"]: one["n_real"] for one in alone}["fd_digits"] == 359
    assert values[:3] != values[12:15]
