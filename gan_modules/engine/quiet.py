"""What Lightning says in every healthy run, and nobody can act on."""

from __future__ import annotations

import logging
import warnings

ADVERTS = (
    "💡 Tip",
    "TPU available: False",
    "GPU available: False",
    "`weights_only` was not set",
    "Restored all states from the checkpoint",
)
WARNINGS = (
    r"Found \d+ module\(s\) in eval mode",  # averages always are, and so is a frozen network that a loss asks
    r".*no pre-optimization state was saved",  # advice to ModelCheckpoint; here what is after the step counts
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r".*smaller than the logging interval Trainer",  # the loop logs by steps over epochs
    r"Checkpoint directory .* exists and is not empty",  # that of a run that goes on
)
LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
)


def hush() -> None:
    """Leave out Lightning's adverts, and its warnings about what is right here; once or again."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_is_news)
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().lstrip().startswith(ADVERTS)
