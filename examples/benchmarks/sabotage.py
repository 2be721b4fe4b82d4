"""Which score notices what: held-out images, which score as a perfect generator's would, are spoiled in known ways.

    python examples/benchmarks/sabotage.py                                                       # digits, seconds
    python examples/benchmarks/sabotage.py --data FashionMNISTDataModule --data.root data \
        --features runs/fashion.safetensors

The validation images are cut into disjoint parts, and as many training images are a part's reals. Each row of the
table is the mean over the parts; a score notices a sabotage where it is worse than the untouched images' by more
than three standard deviations over the parts, and is fooled where it is as much better.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev

import torch
from jsonargparse import auto_cli
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur
from tqdm import tqdm

from datamodules import DigitsDataModule, ImageDataModule
from gan_modules.metrics import (
    DensityCoverage,
    DuplicateRate,
    FeatureMetric,
    FeatureNetwork,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    MemorizationInformedDistance,
    PrecisionRecall,
    feature_network,
)
from gan_modules.scoring.metric_names import is_better_higher
from gan_modules.visuals.pictures import as_image, image_grid

SHOWN = 10  # images of each kind in the picture
SIGMAS = 3
Table = dict[str, dict[tuple[str, int], list[float]]]  # by kind, then by a score's name and the sign of what is better


def spoiled(images: Tensor, labels: Tensor, reals: Tensor, pool: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """The images ``(N, C, H, W)`` in [-1, 1], spoiled in each way.

    Args:
        images: Held-out images.
        labels: Their classes.
        reals: As many training images.
        pool: All held-out images and their classes.
    """
    n, classes = len(images), len(pool[1].unique())
    of_half = pool[0][pool[1] < classes // 2]
    few = torch.arange(n) % max(1, n // 20)
    return {
        "untouched": images,
        "half the classes": of_half[torch.randperm(len(of_half))[:n]],
        "one class missing": torch.cat([images[labels > 0], pool[0][pool[1] > 0]])[:n],
        "blurred by 1 pixel": gaussian_blur(images, [5, 5], [1.0, 1.0]),
        "noise of 0.2": (images + 0.2 * torch.randn_like(images)).clamp(-1, 1),
        "contrast of 0.7": 0.7 * images,
        "a tenth memorised": torch.cat([reals[: n // 10], images[n // 10 :]]),
        "all memorised": reals,
        "each 20 times": images[few],
    }


def measures(network: FeatureNetwork) -> list[FeatureMetric]:
    """All scores; the kernel distance over fewer and smaller subsets than published, the Inception score over all."""
    return [
        FrechetDistance(network),
        KernelDistance(network, subsets=20, subset_size=200),
        InceptionScore(network, splits=1),
        MemorizationInformedDistance(network),
        PrecisionRecall(network),
        DensityCoverage(network),
        DuplicateRate(network),
    ]


def whole(data: ImageDataModule, part: int) -> tuple[Tensor, Tensor]:
    """All images in [-1, 1] and labels of the training (0) or validation set (1), shuffled."""
    dataset = data.splits[part]
    batch = dataset.__getitems__(torch.randperm(len(dataset)).tolist())
    images, labels = data.on_after_batch_transfer(batch, 0)
    return images, labels


@torch.inference_mode()
def main(
    data: ImageDataModule | None = None,
    features: str = "digits",
    parts: int = 5,
    seed: int = 0,
    out: Path = Path("runs/sabotage.png"),
) -> None:
    """Print the table, and draw what was spoiled.

    Args:
        data: Labelled images; by default scikit-learn's digits, half of them held out.
        features: Feature network that classifies: a name, or the file of a classifier of your own.
        parts: Disjoint parts of the validation images.
        seed: Seed of the parts and of what is spoiled at random.
        out: Picture of the first images, a row a kind.
    """
    torch.manual_seed(seed)
    data = data or DigitsDataModule(val_fraction=0.5)
    network = feature_network(features)

    def look(images: Tensor) -> Tensor:
        return torch.cat([network(part) for part in images.split(500)])

    training, (held_out, labels) = whole(data, 0)[0], whole(data, 1)
    n = min(len(training), len(held_out)) // parts
    table: Table = {}
    for part in range(parts):
        own = slice(part * n, (part + 1) * n)
        kinds = spoiled(held_out[own], labels[own], training[own], (held_out, labels))
        if part == 0:
            out.parent.mkdir(parents=True, exist_ok=True)
            rows = torch.cat([images[:SHOWN] for images in kinds.values()])
            as_image(image_grid(rows, nrow=SHOWN)).save(out)
        reals = look(training[own])
        for kind, images in tqdm(kinds.items(), desc=f"part {part + 1} of {parts}", leave=False):
            fakes = look(images)
            for metric in measures(network):
                metric.update_features(reals, real=True)
                metric.update_features(fakes, real=False)
                values = metric.compute()
                for name in metric.names:
                    sign = 1 if is_better_higher(metric, name) else -1
                    table.setdefault(kind, {}).setdefault((name, sign), []).append(float(values[name]))
    print(f"{n} images against {n} training images, means over {parts} parts; network {network.name}\n")
    show(table, out)


def show(table: Table, out: Path) -> None:
    """The table in Markdown: what is noticed in bold, what fools a score in italics."""
    untouched = table["untouched"]
    spread = {score: (mean(values), stdev(values)) for score, values in untouched.items()}
    print("| | " + " | ".join(name for name, _ in untouched) + " |")
    print("|---" * (len(untouched) + 1) + "|")
    for kind, scores in table.items():
        cells = []
        for (name, sign), values in scores.items():
            middle, std = spread[name, sign]
            better = sign * (mean(values) - middle) / std
            mark = "**" if better < -SIGMAS else "_" if better > SIGMAS else ""
            cells.append(f"{mark}{mean(values):.3g}{mark}" + (f" ± {std:.1g}" if kind == "untouched" else ""))
        print(f"| {kind} | " + " | ".join(cells) + " |")
    print(f"\nbold: noticed; italic: fooled; {out}")


if __name__ == "__main__":
    auto_cli(main)
