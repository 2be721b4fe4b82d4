import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
from datetime import timedelta

import torch
import torch.distributed as dist

from gan_modules.functional.latents import slerp
from gan_modules.metrics import *

torch.set_num_threads(1)
rank, processes, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if processes > 1:
    dist.init_process_group(
        "gloo", f"file://{folder}/meeting", world_size=processes, rank=rank, timeout=timedelta(seconds=100)
    )


class Given(FeatureNetwork):
    name, num_features, resizer = "given", 12, "none"

    def features(self, pixels):
        return pixels.flatten(1)


random = torch.Generator().manual_seed(0)
real = torch.randn(150, 12, generator=random).relu()
fake = torch.cat([real[:9] * 1.001, torch.randn(100, 12, generator=random).add(0.3).relu()])
digits = torch.randn(90, 64, generator=random).relu() * 8
points = torch.randint(3, (70, 1), generator=random).float() + 0.01 * torch.randn(70, 2, generator=random)
a, b = torch.randn(2, 40, 4, generator=random)
t = torch.rand(40, generator=random)
given, seven = Given(), DigitFeatures()
metrics = [
    FrechetDistance(given), KernelDistance(given, subsets=7, subset_size=30), PrecisionRecall(given),
    DensityCoverage(given), DuplicateRate(given), MemorizationInformedDistance(given), PerceptualDiversity(given),
    InceptionScore(seven, splits=4), StackedModes(seven),
]
results = []
for turn in range(2):  # the second with the reals that the first has kept
    for metric in metrics:
        sides = (digits, digits) if metric.network is seven else (real, fake)
        for features, is_real in zip(sides, (True, False), strict=True):
            step = 3 if isinstance(metric, StackedModes) else 1  # a sample's channels stay together
            samples = features.view(-1, step, features.shape[1])
            if processes == 2 and is_real:  # the second process has all reals,
                samples = samples[: rank * len(samples)]
            elif processes == 2:  # and two of three fakes
                samples = samples[(torch.arange(len(samples)) % 3 > 0) == bool(rank)]
            if len(samples) and not (turn and is_real):
                metric.update_features(samples.flatten(0, 1), is_real)
        results.append({name: value.item() for name, value in metric.compute().items()})
        metric.keep_reals = True
        metric.reset()
centres = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
modes, lengths = ModeCoverage(centres, std=0.01), PerceptualPathLength(given, epsilon=1e-2, path=slerp)
part, way = (slice(None), slice(None)) if processes == 1 else (slice(rank, None, 2), slice(40 * rank))
modes.update(points[part], real=False)
weights = torch.randn(4, 12, generator=random) / 9
if processes == 1 or rank == 1:  # the other has no path
    lengths.update(lambda z: (z @ weights).view(-1, 1, 3, 4), a[way], b[way], t[way])
results += [{name: value.item() for name, value in metric.compute().items()} for metric in (modes, lengths)]
with open(f"{folder}/{processes}_{rank}.json", "w") as file:
    json.dump(results, file)
if processes > 1:  # together, for a process that leaves early aborts the other
    dist.barrier()
    dist.destroy_process_group()
"""


def test_any_split_over_processes_gives_the_scores_of_one(tmp_path):
    script = tmp_path / "score.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "CUDA_VISIBLE_DEVICES": ""}
    ranks = [(0, 1), (0, 2), (1, 2)]
    running = [
        subprocess.Popen([sys.executable, script, str(rank), str(processes), tmp_path], env=environment)
        for rank, processes in ranks
    ]
    assert [process.wait(timeout=200) for process in running] == [0, 0, 0]
    alone, *others = (json.loads((tmp_path / f"{processes}_{rank}.json").read_text()) for rank, processes in ranks)
    assert len(alone) == 2 * 9 + 2
    assert alone[:9] == [pytest.approx(scores, rel=1e-9) for scores in alone[9:18]]  # reals kept
    for other in others:  # features are float32, computed and added in other batches
        assert other == [pytest.approx(scores, rel=1e-5) for scores in alone]
