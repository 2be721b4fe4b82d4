"""Parts for any game, without Lightning."""
