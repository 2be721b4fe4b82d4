"""The example for several nodes, on two "nodes" of one CPU each, with the variables that SLURM sets."""

import os
import socket

import pytest
import yaml
from commands import ROOT, TINY_WGANGP, run_here, start

from gan_modules.engine.checkpoint import read_checkpoint

LAST_THREADS = """
import atexit, os, pathlib

def write():
    names = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
    pathlib.Path(f"threads_{os.environ['SLURM_PROCID']}.txt").write_text("\\n".join(names))

atexit.register(write)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_slurm_nodes_train_together(tmp_path):
    arguments = (
        f"fit {TINY_WGANGP} --config {ROOT}/examples/cluster/nodes.yaml --trainer.accelerator cpu --trainer.devices 1 "
        f"--trainer.max_steps 3 --trainer.callbacks.dirpath {tmp_path}/saved"
    )
    job = {
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_QOS": "any",
        "SLURM_JOB_NAME": "gan-modules",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_LOCALID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
    }
    (tmp_path / "sitecustomize.py").write_text(LAST_THREADS)  # registered first, so called last
    nodes = [
        start(arguments, tmp_path, environment=job | {"SLURM_PROCID": str(node), "SLURM_NODEID": str(node)})
        for node in (0, 1)
    ]
    said = [node.communicate(timeout=150)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], "\n".join(said)
    saved = read_checkpoint(tmp_path / "saved" / "last.ckpt")
    assert saved["global_step"] == 3
    assert saved["gan_modules"]["images_seen"] == 3 * 2 * 2 * 8  # steps, batches, nodes, batch_size of nodes.yaml
    assert len(saved["gan_modules"]["processes"]) == 2
    for node in (0, 1):  # a thread that outlives Python may abort it
        threads = (tmp_path / f"threads_{node}.txt").read_text().split()
        assert not [name for name in threads if "gloo" in name or "tcpstore" in name]


@pytest.mark.parametrize("overlay", ["node", "nodes"])
def test_configurations_for_gpus_are_laid_over_the_examples(overlay, tmp_path, capsys):
    asked = yaml.safe_load((ROOT / "examples" / "cluster" / f"{overlay}.yaml").read_text())
    configs = " ".join(
        f"--config {ROOT}/examples/{name}.yaml" for name in ("configs/dcgan_celeba", f"cluster/{overlay}")
    )
    with pytest.raises(SystemExit, match="0"):
        run_here(f"fit {configs} --print_config", tmp_path)
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["class_path"] == "gan_modules.DCGAN"
    assert asked["trainer"].items() <= printed["trainer"].items()
    for part in asked.keys() - {"trainer"}:
        assert asked[part]["init_args"].items() <= printed[part]["init_args"].items()
