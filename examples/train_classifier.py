"""Train the small classifier whose features measure Frechet distances.

    python examples/train_classifier.py --out digits.safetensors       # one like the bundled one
    python examples/train_classifier.py --data FashionMNISTDataModule --data.root data --data.batch_size 256 \
        --out fashion.safetensors --name fashion --widths '[16, 32, 64]' --num_features 128 --epochs 4

Images are turned, scaled, moved and made noisy a little, so that the features bear with what generators do. The
accuracy printed is that on the validation set, which training never sees.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor
from torch.nn import functional as F

from datamodules import DigitsDataModule, ImageDataModule
from gan_modules.errors import GANError
from gan_modules.metrics import Classifier, ClassifierFeatures


def augment(images: Tensor) -> Tensor:
    """Turn by up to 10°, scale by up to 10 %, move by up to 6 %, add noise of up to 0.2; images in [-1, 1]."""
    n, device = len(images), images.device

    def uniform(limit: float) -> Tensor:
        return (torch.rand(n, device=device) * 2 - 1) * limit

    angle, scale = uniform(torch.pi / 18), 1 + uniform(0.1)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    matrix = torch.stack([cos, -sin, uniform(0.12), sin, cos, uniform(0.12)], dim=1).view(n, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved + uniform(0.2).view(n, 1, 1, 1) * torch.randn_like(images)


def main(
    data: ImageDataModule | None = None,
    out: Path = Path("digits.safetensors"),
    name: str = "digits",
    widths: tuple[int, ...] = (32, 64, 64),
    num_features: int = 64,
    epochs: int = 100,
    seed: int = 0,
) -> None:
    """Train a classifier on a datamodule of this library and write its weights.

    Args:
        data: Labelled, square images; scikit-learn's digits by default.
        out: Safetensors file to write, which must not exist.
        name: Name of the features, and so of the score: ``fd_<name>``.
        widths: Channels of each convolution.
        num_features: Number of features.
        epochs: Passes over the training set.
        seed: Seed of the weights and the augmentation.

    Raises:
        GANError: If the file exists: scores by its features would change their meaning.
    """
    if out.exists():
        raise GANError(f"'{out}' exists: name another file by --out.")
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = data or DigitsDataModule()
    data.prepare_data()
    channels, image_size, _ = data.image_shape
    network = Classifier(channels, image_size, data.num_classes, widths, num_features)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
    loader = data.train_dataloader()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * len(loader))
    start = time.perf_counter()
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            images, labels = data.on_after_batch_transfer(tuple(tensor.to(device) for tensor in batch), 0)
            loss = F.cross_entropy(network(augment(images)), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}  {seconds:.0f} s", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    network.save(out, name, image_size)

    features = ClassifierFeatures(out).to(device)  # what users will load
    hits = torch.cat([features.classify(x.to(device)).argmax(1).cpu() == y for x, y in data.val_dataloader()])
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB, held-out accuracy {hits.float().mean():.2%} of {len(hits)}")


if __name__ == "__main__":
    auto_cli(main)
