"""One model: its networks, its tokenizer, and where their weights come from."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kinema.checkpoint.source import Source
from kinema.model.causal import CausalConfig
from kinema.model.clip import ImageEncoder
from kinema.model.dit import DiT
from kinema.model.text import TextEncoder, Tokenizer
from kinema.model.vae import VideoVAE
from kinema.spec import ModelDefaults


@dataclass(kw_only=True)
class Model:
    """The networks of one model, with the tokenizer, and what it makes when the request does not say."""

    dit: DiT
    vae: VideoVAE
    text: TextEncoder
    tokenizer: Tokenizer
    defaults: ModelDefaults
    dit_low: DiT | None = None
    """The expert for low noise, in models of two transformers."""
    boundary: float | None = None
    """Time below which `dit_low` takes over."""
    image: ImageEncoder | None = None
    """What sees the first picture, in models whose cross-attention reads one."""
    reads_frames: bool = True
    """Whether given frames may stand at time 0 among those being made (`expand_timesteps` in diffusers)."""
    causal: CausalConfig | None = None
    """How it looks back, if it makes video block by block; None = all frames at once."""
    folder: Path | None = None
    """Where it was loaded from."""
    scheduler: dict[str, Any] = field(default_factory=dict)
    """`scheduler_config.json` of the folder; made from the defaults where it is empty."""
    sources: dict[nn.Module, Callable[[], Source]] = field(default_factory=dict)
    """What opens the files that the weights of each network were, or can be, read from."""
    opened: dict[nn.Module, Source] = field(default_factory=dict)
    """Files that `check_files` has opened, until `source` hands them out."""

    @property
    def experts(self) -> tuple[DiT, ...]:
        """The transformers, the one for high noise first."""
        return (self.dit,) if self.dit_low is None else (self.dit, self.dit_low)

    @property
    def condition_channels(self) -> int:
        """Channels beside the latent in which the transformer is shown given frames; 0 = it is shown none there."""
        return self.dit.config.in_channels - self.vae.config.z_dim

    def check_files(self) -> None:
        """Look whether the files that the weights come from are there, whole and of these networks; reads no number.

        Raises CheckpointError, naming file and tensor.
        """
        self.opened = {network: open_files() for network, open_files in self.sources.items()}

    def source(self, network: nn.Module) -> Source:
        """Give the opened files of a network, whose are then theirs who asked. Raises what `check_files` raises."""
        return self.opened.pop(network, None) or self.sources[network]()

    def fill(self, device: torch.device | str) -> None:
        """Give an outline memory on a device, once, in its number type, and its weights. Raises CheckpointError."""
        for network in self.sources:
            self.source(network).fill(network.to_empty(device=device).state_dict())

    def take_copy(self) -> "Model":
        """Copy an outline for somebody who fills it; files that are open go to the copy."""
        copies = {network: copy.deepcopy(network) for network in self.sources}
        changes: dict[str, Any] = {key: copies[part] for key, part in vars(self).items() if isinstance(part, nn.Module)}
        changes["sources"] = {copies[network]: open_files for network, open_files in self.sources.items()}
        changes["opened"] = {copies[network]: source for network, source in self.opened.items()}
        self.opened = {}
        return dataclasses.replace(self, **changes)
