"""The code of docs/data.md's section on your own datamodule is run as it stands there."""

import ast
import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_your_own_datamodule():
    section = PAGE.read_text(encoding="utf-8").partition("## Your own datamodule\n")[2]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    expression, printed = blocks[1].strip().splitlines()[-2:]
    assert eval(expression, names) == ast.literal_eval(printed.removeprefix("# "))

    data = names["Colours"](batch_size=10)
    assert data.spec == {"image_shape": (3, 16, 16), "vocab_size": 4, "num_classes": 0}
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    images, captions = (torch.cat(column) for column in zip(*batches, strict=True))
    assert images.shape == (200, 3, 16, 16)
    words = ["red", "green", "blue"]
    assert [names["WORDS"][token] for token in captions[:, 0]] == [words[i] for i in images[:, :, 5, 5].argmax(1)]
    assert set(images.unique().tolist()) == {-1.0, 1.0}
    assert captions.dtype == torch.int64
    assert not captions[:, 0].equal(captions[:, 0].sort().values)
