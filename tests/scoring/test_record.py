import json
import math
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan_modules import GANError
from gan_modules.scoring.record import PROTOCOL, Score, append, best, compare, last, read, spread

SCORE = Score(
    metric="fid",
    value=12.5,
    higher_is_better=False,
    network="inception",
    sha256="6726825d",
    resizer="tf1-bilinear 299",
    settings={"k": 5},
    reals="FashionMNISTDataModule",
    split="val",
    reals_digest="00ff",
    n_real=10_000,
    n_fake=5_000,
    fakes="runs/last.ckpt",
    seed=3,
    weights="ema",
    truncation=1.0,
    step=4_000,
    images_seen=256_000,
)
OTHER = {
    "metric": "kid",
    "network": "dinov2",
    "sha256": "ab",
    "resizer": "bicubic 224",
    "settings": {"k": 3},
    "reals_digest": "ee",
    "n_real": 50_000,
    "n_fake": 50_000,
    "weights": "raw",
    "truncation": 0.7,
}


@given(
    value=st.floats(allow_nan=False),
    texts=st.text(),
    number=st.none() | st.integers(0),
    settings=st.dictionaries(st.text(), st.integers()),
)
def test_a_line_holds_the_whole_record(value, texts, number, settings):
    score = replace(SCORE, value=value, fakes=texts, split=texts, step=number, seed=number, settings=settings)
    line = score.to_json()
    assert "\n" not in line
    assert Score.from_json(line) == score
    assert set(json.loads(line)) == {field.name for field in fields(Score)}


def test_the_versions_are_those_installed():
    import torch

    assert SCORE.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(SCORE.versions) >= {"gan_modules", "torch", "torchmetrics"}


@pytest.mark.parametrize("name", PROTOCOL)
def test_each_difference_of_protocol_is_refused_by_name(name):
    other = replace(SCORE, **{name: OTHER[name]})
    with pytest.raises(GANError, match=rf"differ in {name} \(.*{getattr(SCORE, name)!s:.4}") as caught:
        compare(SCORE, other)
    assert str(OTHER[name]) in str(caught.value)
    for refused in (lambda: spread([SCORE, other]), lambda: best([SCORE, other]), lambda: other.better_than(SCORE)):
        with pytest.raises(GANError, match="do not compare"):
            refused()


def test_every_field_is_part_of_the_protocol_or_of_the_run():
    of_the_run = {
        *("value", "std", "higher_is_better", "reals", "split", "fakes", "seed", "step", "images_seen", "versions"),
    }
    assert set(OTHER) == set(PROTOCOL)
    assert {field.name for field in fields(Score)} == of_the_run | set(PROTOCOL)


def test_what_may_differ_compares():
    other = replace(SCORE, value=10.0, seed=4, step=9, fakes="elsewhere", images_seen=1, versions={})
    assert compare(SCORE, other) == 2.5
    assert other.better_than(SCORE)
    assert not replace(other, higher_is_better=True).better_than(replace(SCORE, higher_is_better=True))
    unknown = replace(SCORE, weights=None, truncation=None, seed=None, value=1.0)  # a folder of images
    assert compare(SCORE, unknown) == 11.5


def test_mean_and_deviation_over_seeds():
    values = [3.0, 4.5, 9.0]
    found = spread([replace(SCORE, value=value, seed=i) for i, value in enumerate(values)])
    assert (found.mean, found.std, found.n) == (statistics.fmean(values), statistics.stdev(values), 3)
    assert str(found) == "5.5 ± 3.1"
    assert str(spread([SCORE])) == "12.5"
    with pytest.raises(GANError, match="no score"):
        spread([])
    assert str(spread([replace(SCORE, value=value) for value in (1.0, math.nan)])) == "nan ± nan"
    assert str(spread([replace(SCORE, value=value) for value in (1.0, math.inf)])) == "inf ± nan"


def test_best_and_last():
    scores = [replace(SCORE, value=v, step=r) for v, r in ((9.0, 100), (4.0, 200), (math.nan, 300), (6.0, 400))]
    assert best(scores) == scores[1]
    assert best([replace(s, higher_is_better=True) for s in scores]).value == 9.0
    assert best(scores[2:]) == scores[3]
    assert last(reversed(scores)) == scores[3]
    for choose in (best, last):
        with pytest.raises(GANError, match="no scores"):
            choose([])


def test_a_file_of_records_grows_and_outlives_a_cut(tmp_path):
    path = tmp_path / "run" / "scores.jsonl"
    append(path, [SCORE, replace(SCORE, seed=4)])
    append(path, [replace(SCORE, seed=5)])
    assert [score.seed for score in read(path)] == [3, 4, 5]
    whole = path.read_bytes()
    for cut in (1, 2, 40, len(SCORE.to_json())):
        path.write_bytes(whole[:-cut])
        assert [score.seed for score in read(path)][:2] == [3, 4]
        append(path, [replace(SCORE, seed=6)])
        assert [score.seed for score in read(path)][-1] == 6
        assert len(read(path)) == (4 if cut == 1 else 3)


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from gan_modules.scoring.record import Score, append
score = Score(metric="fid", value=1.0, higher_is_better=False, n_fake=2, fakes="x" * 5000, versions={})
seed = 0
while True:
    append(Path(sys.argv[1]), [replace(score, seed=seed)])
    seed += 1
"""


def test_a_killed_writer_leaves_whole_records(tmp_path):
    path = tmp_path / "scores.jsonl"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], env=environment)
    while not path.is_file() or path.stat().st_size < 1_000_000:
        assert writer.poll() is None
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    seeds = [score.seed for score in read(path)]
    assert seeds == list(range(len(seeds)))
    assert len(seeds) > 100


def test_records_of_the_first_edition_are_read(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text(SCORE.to_json().replace('"step": 4000', '"round": 4000') + "\n")
    assert '"round"' in path.read_text()
    assert read(path) == [SCORE]


def test_files_that_are_something_else_are_named(tmp_path):
    with pytest.raises(GANError, match="no scores at"):
        read(tmp_path / "none.jsonl")
    other = tmp_path / "metrics.jsonl"
    for line in ('{"loss": 3}', "[1]", '{"metric": 1}', SCORE.to_json().replace("12.5", '"12.5"')):
        other.write_text(line + "\n")
        with pytest.raises(GANError, match="no record of a score"):
            read(other)
    folder = tmp_path / "file"
    folder.write_text("")
    with pytest.raises(GANError, match="could not be written"):
        append(folder / "scores.jsonl", [SCORE])
