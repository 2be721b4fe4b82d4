"""Scores that say what they mean: records, the features of reals on the disk, and what scores images and models."""
