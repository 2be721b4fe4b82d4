"""What the engine in `gan_modules.base` stands on: players, moving averages, the ledger of losses, checkpoint files."""
