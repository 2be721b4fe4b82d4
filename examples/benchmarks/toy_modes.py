"""Which modes of a mixture in the plane a GAN finds: WGAN-GP beside the original GAN.

WGAN-GP plays with λ = 0.1, as in its authors' own toy experiments, and a learning rate that falls to zero; the original
GAN has the same networks, learning rate and five discriminator moves a round. A mode counts when at least a tenth
of its fair share of the samples lies within 3 standard deviations of its centre.

    python examples/benchmarks/toy_modes.py --distribution 8gaussians --rounds 3000
    python examples/benchmarks/toy_modes.py --distribution 25gaussians --rounds 5000
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything

from datamodules import ToyDataModule
from gan_modules import WGANGP, VanillaGAN
from gan_modules.metrics import mode_coverage
from gan_modules.visuals.pictures import as_image, scatter

SAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--distribution", choices=["8gaussians", "25gaussians"], default="8gaussians")
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="one is fastest for such small networks")
    parser.add_argument("--out", type=Path, default=Path("runs/toy_modes"), help="folder of the pictures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    data = ToyDataModule(args.distribution, batch_size=128, seed=args.seed)
    size = {"image_shape": data.image_shape, "latent_dim": 2, "hidden_dim": 128, "ema_half_life": 100_000}
    for model_class, options in (
        (WGANGP, {"gp_weight": 0.1, "betas": (0.5, 0.9), "decay_rounds": args.rounds}),
        (VanillaGAN, {"n_critic": 5}),
    ):
        seed_everything(args.seed, verbose=False)
        model = model_class(**size, **options, lr_g=1e-3, lr_d=1e-3)
        start = time.perf_counter()
        trainer = Trainer(
            max_steps=args.rounds,
            max_epochs=-1,
            limit_val_batches=0,
            logger=False,
            accelerator="cpu",
            enable_checkpointing=False,
        )
        trainer.fit(model, data)
        minutes = (time.perf_counter() - start) / 60
        points = model.sample(SAMPLES, seed=args.seed)
        found = mode_coverage(points, data.centres, data.std)
        name = f"{args.distribution}_{model_class.__name__}"
        as_image(scatter(points, data.splits[1].tensors[0][:SAMPLES])).save(args.out / f"{name}.png")
        print(
            f"{model_class.__name__:<10} {args.distribution}: {found.modes}/{len(data.centres)} modes, "
            f"{found.share:.1%} of {SAMPLES} samples within 3 sigma, {args.rounds} rounds in {minutes:.1f} min"
        )


if __name__ == "__main__":
    main()
