"""From a request to a video: one pipeline, in which every edit is a mask over latents."""
