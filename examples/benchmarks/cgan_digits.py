"""How many of CGAN's digits are what was asked for, by a support vector machine that has only seen real digits.

gan-modules fit --config examples/configs/cgan_digits.yaml
python examples/benchmarks/cgan_digits.py runs/cgan_digits/version_0/checkpoints/last.ckpt
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from torch.nn.functional import interpolate

from gan_modules import CGAN

SAMPLES = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ckpt_path")
    args = parser.parse_args()
    images, digits = load_digits(return_X_y=True)  # 8×8, 0 to 16
    x_train, x_test, y_train, y_test = train_test_split(images, digits, test_size=0.2, random_state=0)
    classifier = SVC(gamma=0.001, C=10).fit(x_train, y_train)
    model = CGAN.load_from_checkpoint(args.ckpt_path)
    samples = model.sample(SAMPLES, seed=0)
    asked = torch.arange(SAMPLES) % 10
    small = interpolate(samples, (8, 8), mode="area").flatten(1).add(1).mul(8)
    recognised = classifier.predict(small.numpy()) == asked.numpy()
    print(f"held-out real digits recognised: {classifier.score(x_test, y_test):.1%}")
    print(f"CGAN's digits recognised as asked for: {recognised.mean():.1%} of {SAMPLES}")
    print("by class: " + ", ".join(f"{digit}: {recognised[asked == digit].mean():.1%}" for digit in range(10)))


if __name__ == "__main__":
    main()
