"""The commands: `perdure …` and `replay-check`. One file a command; nothing imports this package."""
