"""What kinds of games share."""
