"""The networks: diffusion transformer, causal video autoencoder, text encoder, and folders that hold them."""
