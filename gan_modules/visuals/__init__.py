"""Pictures of samples, and their way to the loggers."""
