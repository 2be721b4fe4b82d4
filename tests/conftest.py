import os
from collections.abc import Callable, Sequence

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

# the collector of doctests would import all files of this name as one module
collect_ignore_glob = ["conftest.py", "*/conftest.py"]

torch.set_num_threads(1)  # a second thread costs tiny networks more than it brings


class Updates(Callback):
    """The optimizer steps taken, by player, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_train_start(self, trainer, model):
        for name, optimizer in zip(("discriminator", "generator"), trainer.optimizers, strict=True):
            optimizer.register_step_post_hook(lambda *_, name=name: self.names.append(name))


@pytest.fixture
def updates() -> Updates:
    return Updates()


@pytest.fixture
def as_loader() -> Callable[[Sequence[tuple[Tensor, ...]]], DataLoader]:
    """Batches in their order; the loader draws nothing from the global random generator."""
    return lambda batches: DataLoader(batches, batch_size=None, generator=torch.Generator())


@pytest.fixture
def fit(tmp_path, as_loader) -> Callable[..., Trainer]:
    """Fit a model on batches under a quiet Trainer, the random generator freshly seeded."""

    def fit(model, batches, *callbacks, seed=0, ckpt_path=None, **options):
        quiet = {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": -1,
            "logger": False,
            "enable_checkpointing": any("Checkpoint" in type(callback).__name__ for callback in callbacks),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        trainer = Trainer(callbacks=list(callbacks), **quiet | options)
        torch.manual_seed(seed)
        trainer.fit(model, as_loader(batches), ckpt_path=ckpt_path)
        return trainer

    return fit


@pytest.fixture
def noise_batches() -> Callable[..., list[tuple[Tensor, ...]]]:
    """`count` batches of images in [-1, 1], all different; with labels where there are classes."""

    def make(count, image_shape=(1, 4, 4), size=6, num_classes=0):
        generator = torch.Generator().manual_seed(1)
        batches = []
        for _ in range(count):
            images = torch.rand(size, *image_shape, generator=generator) * 2 - 1
            labels = torch.randint(num_classes, (size,), generator=generator) if num_classes else None
            batches.append((images,) if labels is None else (images, labels))
        return batches

    return make


@pytest.fixture(autouse=True, scope="session")
def _features_of_reals_of_this_session(tmp_path_factory):
    """What the tests cache stays out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_MODULES_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _seeds_stay_in_their_test():
    """What seed_everything leaves in the environment would seed the processes that later tests start."""
    yield
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(name, None)
