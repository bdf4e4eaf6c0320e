"""The Videos API on your own machine: a queue that loses nothing, workers that keep their weights warm."""
