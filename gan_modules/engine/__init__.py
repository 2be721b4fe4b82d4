"""The engine: the game, its players, averages, losses and files; `gan_modules.base` builds the families on it."""
