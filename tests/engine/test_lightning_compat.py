"""The private names of Lightning's and torch's that the engine needs still are what they were."""

import csv
import inspect
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from torch.utils.data import DataLoader

from gan_modules.engine import lightning_compat


class Plain(LightningModule):
    """A model that knows nothing of the engine."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(**options):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def data():
    return DataLoader(torch.randn(8, 2), 2)


def test_the_trainer_has_its_cluster():
    chosen = LightningEnvironment()
    assert lightning_compat.cluster_environment(trainer(plugins=[chosen], devices=2)) is chosen


def test_lightning_asks_for_sigterm_only_where_it_is_to(monkeypatch):
    asked = []
    monkeypatch.setattr(_TrainingEpochLoop, "_broadcast_sigterm_tensor", lambda self: asked.append("class"))
    used = inspect.getsource(_TrainingEpochLoop.advance)
    assert "self._broadcast_sigterm_tensor()" in used, "Lightning has renamed its question about SIGTERM"
    run = trainer(max_steps=2)
    run.fit_loop.epoch_loop._broadcast_sigterm_tensor()
    lightning_compat.stop_asking_for_sigterm(run)
    run.fit_loop.epoch_loop._broadcast_sigterm_tensor()
    assert asked == ["class"]
    lightning_compat.ask_for_sigterm(run)
    run.fit_loop.epoch_loop._broadcast_sigterm_tensor()
    assert asked == ["class", "class"]


def test_a_restart_is_ended(tmp_path):
    class EndRestart(Callback):
        seen = None

        def on_train_start(self, trainer, model):
            loop = trainer.fit_loop
            before = loop.restarting, loop.epoch_loop.restarting
            lightning_compat.end_restart(trainer)
            self.seen = before, (loop.restarting, loop.epoch_loop.restarting)

    first = trainer(max_steps=2)
    first.fit(Plain(), data())
    first.save_checkpoint(tmp_path / "one.ckpt")
    look = EndRestart()
    trainer(max_steps=4, callbacks=[look]).fit(Plain(), data(), ckpt_path=tmp_path / "one.ckpt")
    before, after = look.seen
    assert before == (True, True), "Lightning no longer marks a continued loop as restarting"
    assert after == (False, False)


@pytest.mark.timeout(60)
def test_the_action_comes_before_the_kill(monkeypatch):
    done = []
    monkeypatch.setattr("os.kill", lambda pid, number: done.append((pid, number)))
    dead = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    dead.wait()
    go_on = threading.Event()
    monkeypatch.setattr("time.sleep", lambda _: go_on.wait())
    observer = _ChildProcessObserver(main_pid=-1, child_processes=[dead], sleep_period=0)
    observer.start()
    for _ in range(2):  # the second changes nothing
        lightning_compat.before_this_process_is_killed(lambda: done.append("action"))
    go_on.set()
    observer.join()
    assert [done[0], done[1][0]] == ["action", -1]
    assert len(done) == 2


def test_only_a_step_that_is_announced_is_counted():
    class Manual(Plain):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            self.optimizers().optimizer.step()
            if batch_idx % 2:
                lightning_compat.count_step(self.optimizers())

    run = trainer(max_epochs=1)
    run.fit(Manual(), data())
    assert run.global_step == 2


def test_torch_looks_for_graphs_only_where_it_is_to(monkeypatch):
    asked = []
    name = "_accelerator_graph_capture_health_check"
    assert hasattr(torch.optim.Optimizer, name), "torch has renamed its question about CUDA graphs"
    monkeypatch.setattr(torch.optim.Optimizer, name, lambda self: asked.append(self))
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    optimizer = torch.optim.Adam([weight])
    optimizer.step()
    assert asked == [optimizer]
    lightning_compat.skip_capture_check(optimizer)
    optimizer.step()
    assert asked == [optimizer]


def test_a_module_is_attached_while_it_has_a_trainer():
    module = Plain()
    assert not lightning_compat.is_attached(module)
    trainer(max_epochs=1).fit(module, data())
    assert lightning_compat.is_attached(module)


def test_the_loggers_axis_is_what_is_shown(tmp_path):
    class Shown(Plain):
        def training_step(self, batch, batch_idx):
            lightning_compat.show_step(self.trainer, 10 * batch_idx)
            self.log("batch", float(batch_idx))
            return super().training_step(batch, batch_idx)

    logger = CSVLogger(tmp_path)
    run = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=logger,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    run.fit(Shown(), data())
    rows = list(csv.DictReader((Path(logger.log_dir) / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [10 * int(float(row["batch"])) for row in rows]
    assert len(rows) > 1


def test_validation_can_be_asked_for(tmp_path):
    class Asks(Plain):
        def on_train_batch_end(self, *_):
            step = self.trainer.global_step
            due.append(lightning_compat.validates_after_this_batch(self.trainer))
            ends.append(lightning_compat.ends_after_this_batch(self.trainer))
            if step == 3:
                lightning_compat.validate_after_this_batch(self.trainer)

        def validation_step(self, batch, batch_idx):
            if batch_idx == 0:
                validated.append(self.trainer.global_step)
            lightning_compat.validate_when_due(self.trainer)

    due, ends, validated = [], [], []
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "num_sanity_val_steps": 0}
    run = Trainer(max_steps=5, val_check_interval=2, check_val_every_n_epoch=None, **options)
    run.fit(Asks(), data(), data())
    assert due == [False, True, False, True, False]
    assert ends == [False, False, False, False, True]
    assert validated == [2, 3, 4]


def test_tensors_move_together():
    tensors, ends = [torch.zeros(2), torch.ones(3)], [torch.ones(2), torch.zeros(3)]
    lightning_compat.lerp_all(tensors, ends, 0.25)
    assert torch.equal(tensors[0], torch.full((2,), 0.25))
    assert torch.equal(tensors[1], torch.full((3,), 0.75))


def test_fused_optimizers_take_scaled_gradients():
    weight = torch.nn.Parameter(torch.ones(2))
    assert lightning_compat.takes_scaled_gradients(torch.optim.Adam([weight], fused=True))
    assert not lightning_compat.takes_scaled_gradients(torch.optim.Adam([weight]))


def test_a_compiled_module_is_told_from_a_plain_one():
    model = Plain()
    assert not lightning_compat.was_compiled(model)
    seen = []
    model.setup = lambda stage: seen.append(lightning_compat.was_compiled(model))
    trainer(fast_dev_run=True).fit(torch.compile(model, backend="eager"), data())
    assert seen == [True]


def test_an_exported_convolution_takes_a_single_pixel_too():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 4, stride=2, padding=1), torch.nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1)
    )
    free = {2: 2 * torch.export.Dim("height", min=1), 3: 2 * torch.export.Dim("width", min=1)}
    with lightning_compat.sizes_of_one_are_free():
        program = torch.export.export(network, (torch.randn(2, 2, 4, 6),), dynamic_shapes=(free,))
    single = torch.randn(2, 2, 2, 2)
    assert torch.equal(program.module()(single), network(single))
