"""The alternating step in any LightningModule; it knows no family, no model and no image."""
