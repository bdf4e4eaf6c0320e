"""Score what a model makes: adherence to the prompt, motion, steadiness, fidelity."""
