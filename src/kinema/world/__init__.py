"""A small physical world that makes unlimited, exactly captioned video, for training, tests and evaluation."""
