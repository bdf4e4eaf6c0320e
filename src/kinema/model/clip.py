"""The image encoder (CLIP's vision transformer): a picture in, tokens that the Wan2.1 image models read out."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kinema.errors import SpecError
from kinema.model.attention import attend

MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Mean of each colour, in [0, 1], of the pictures CLIP was trained on."""

STD = (0.26862954, 0.26130258, 0.27577711)
"""Standard deviation of each colour of the same pictures."""


@dataclass(frozen=True, kw_only=True)
class ImageEncoderConfig:
    """The sizes of CLIP's image encoder; the defaults are ViT-H/14, which all Wan2.1 image models use."""

    width: int = 1280
    """Channels of a token."""
    ffn_dim: int = 5120
    """Hidden width of the feed-forward layers."""
    num_layers: int = 32
    """Layers; the last one is not used."""
    num_heads: int = 16
    """Attention heads."""
    image_size: int = 224
    """Pixels per side of the picture."""
    patch_size: int = 14
    """Pixels per side of what makes one token."""
    eps: float = 1e-5
    """Added to variances."""
    activation: Literal["gelu", "quick_gelu"] = "gelu"
    """Of the feed-forward layers."""

    @property
    def num_tokens(self) -> int:
        """Tokens of one picture: its patches and one for the whole."""
        return (self.image_size // self.patch_size) ** 2 + 1


class ImageLayer(nn.Module):
    """Attention and a feed-forward layer, each normalised before and added after."""

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads, self.activation = config.num_heads, config.activation
        self.norm1 = nn.LayerNorm(width, config.eps)
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, config.eps)
        self.up = nn.Linear(width, config.ffn_dim)
        self.down = nn.Linear(config.ffn_dim, width)

    def forward(self, x: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        """Map tokens to tokens."""
        h = self.norm1(x)
        q, k, v = (to(h).unflatten(-1, (self.num_heads, -1)) for to in (self.to_q, self.to_k, self.to_v))
        x = x + self.to_out(attend(q, k, v).flatten(2))
        h = self.up(self.norm2(x))
        h = F.gelu(h) if self.activation == "gelu" else h * torch.sigmoid(1.702 * h)
        return x + self.down(h)


class ImageEncoder(nn.Module):
    """See a picture: CLIP's vision transformer (Radford et al. 2021, arXiv 2103.00020), up to its last layer but one.

    The same numbers as `hidden_states[-2]` of transformers' CLIPVisionModel. The last layer and the norm after it are
    there so that what is saved is whole.
    """

    def __init__(self, config: ImageEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.class_token = nn.Parameter(torch.zeros(config.width))
        self.patch_embed = nn.Conv2d(3, config.width, config.patch_size, config.patch_size, bias=False)
        self.positions = nn.Parameter(torch.zeros(config.num_tokens, config.width))
        self.norm_in = nn.LayerNorm(config.width, config.eps)
        self.layers = nn.ModuleList(ImageLayer(config) for _ in range(config.num_layers))
        self.norm_out = nn.LayerNorm(config.width, config.eps)

    def forward(self, pictures: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b k d"]:
        """Give the tokens of pictures in [0, 1] of the encoder's size, the token for the whole first (SpecError)."""
        side = self.config.image_size
        if pictures.shape[1:3] != (side, side):
            raise SpecError(f"the image encoder sees {side}x{side} pixels, not {pictures.shape[2]}x{pictures.shape[1]}")
        x = (pictures - pictures.new_tensor(MEAN)) / pictures.new_tensor(STD)
        x = x.permute(0, 3, 1, 2).to(self.class_token.dtype)
        patches = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), patches], dim=1) + self.positions
        x = self.norm_in(x)
        for layer in list(cast("list[nn.Module]", self.layers))[:-1]:
            x = layer(x)
        return x
