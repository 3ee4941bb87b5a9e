"""The 3215 console: `codes` has its commands, `device` the model."""
