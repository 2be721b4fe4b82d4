#!/bin/bash
# Two nodes of eight GPUs without a scheduler. On each node, with the first node's name:
#   HEAD=node-a bash examples/cluster/torchrun.sh
# To go on after a stop, add --ckpt_path and the newest checkpoint; every node must see its folder.
set -euo pipefail

torchrun \
  --nnodes 2 \
  --nproc-per-node 8 \
  --rdzv-backend c10d \
  --rdzv-endpoint "${HEAD:?set HEAD to the first node}:29500" \
  --module gan_modules fit \
  --config examples/configs/dcgan_celeba.yaml \
  --config examples/cluster/nodes.yaml \
  "$@"
