"""Training: one visible loop for the video autoencoder and the diffusion transformer."""
