"""Model folders on disk, in the layout of diffusers: weights, names of weights, configurations; no network."""
