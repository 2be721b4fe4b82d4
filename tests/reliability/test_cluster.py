"""The example for several nodes, on two "nodes" of one CPU each, told who they are as SLURM tells."""

import socket

import pytest
from commands import ROOT, TINY_WGANGP, start

from gan_modules.engine.checkpoints import read_checkpoint


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
    }
    nodes = [
        start(arguments, tmp_path, environment=job | {"SLURM_PROCID": str(node), "SLURM_NODEID": str(node)})
        for node in (0, 1)
    ]
    said = [node.communicate(timeout=150)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    saved = read_checkpoint(tmp_path / "saved" / "last.ckpt")
    assert saved["global_step"] == 3
    assert saved["gan_modules"]["images_seen"] == 3 * 2 * 2 * 8  # rounds, turns, nodes, batch_size of nodes.yaml
    assert len(saved["gan_modules"]["processes"]) == 2
