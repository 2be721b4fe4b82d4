"""Tiny datamodules of audio, video and captioned images, made on the spot; each sample shows what made it."""

import math

import torch

from datamodules import GANDataModule
from datamodules.in_memory import InMemory


class MadeUp(GANDataModule):
    """Base of the made-up sets: `num_samples` for training, half as many to validate and test."""

    def __init__(self, num_samples: int = 64, *, batch_size: int = 8, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed)
        self.num_samples = num_samples

    def load(self):
        train, val = self.make(torch.arange(self.num_samples)), self.make(torch.arange(self.num_samples // 2))
        return train, val, val


class MadeUpAudio(MadeUp):
    """Sines (1, T) in int16 of three pitches, the classes; the phase grows with the sample's number."""

    audio_shape = (1, 64)
    sample_rate = 8000
    num_classes = 3

    def make(self, numbers):
        pitch = numbers % 3
        time = torch.arange(64) / 64
        wave = torch.sin(2 * math.pi * (2.0 ** (1 + pitch[:, None]) * time + numbers[:, None] / self.num_samples))
        return InMemory((32767 * wave[:, None]).round().short(), pitch)


class MadeUpVideo(MadeUp):
    """A bright square (3, T, H, W) in uint8 that moves one pixel right in each frame; its number gives the start."""

    video_shape = (3, 4, 16, 16)
    frame_rate = 8

    def make(self, numbers):
        video = torch.zeros(len(numbers), *self.video_shape, dtype=torch.uint8)
        for row, number in enumerate(numbers.tolist()):
            top, left = divmod(number % 64, 8)
            for frame in range(4):
                video[row, :, frame, top : top + 4, left + frame : left + frame + 4] = 255
        return InMemory(video)


class MadeUpCaptions(MadeUp):
    """Images (3, 16, 16) in uint8 of one colour in one half; the caption (N, 3) int64 names both: colour, half, 0."""

    image_shape = (3, 16, 16)
    vocab_size = 6  # padding, red, green, blue, left, right

    def make(self, numbers):
        colour, half = numbers % 3, numbers // 3 % 2
        images = torch.zeros(len(numbers), 3, 16, 16, dtype=torch.uint8)
        for row, (channel, side) in enumerate(zip(colour.tolist(), half.tolist(), strict=True)):
            images[row, channel, :, 8 * side : 8 * side + 8] = 255 - row % 64
        return InMemory(images, torch.stack([1 + colour, 4 + half, torch.zeros_like(half)], dim=1))
