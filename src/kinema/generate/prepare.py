"""What a pipeline stands on: a model by its name, and how it is to be computed, checked before a weight is read."""

from dataclasses import dataclass

import torch

from kinema.generate.device import choose_device, choose_dtype, dtype_name
from kinema.generate.experts import looking_back
from kinema.generate.vocabulary import Vocabulary
from kinema.model import Model, load_model
from kinema.model.attention import Mix, choose_attention
from kinema.model.quantize import check_quantize
from kinema.spec import parse_memory


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is to be loaded and computed; what is left out is chosen for the device."""

    device: str | None = None
    """Where to compute, such as cpu or cuda:1; None = a GPU if there is one."""
    dtype: str | None = None
    """Number type of the networks; None = the fastest that the device has."""
    causal: str | None = None
    """One of CAUSAL_PRESETS: how a model that makes video block by block looks back; None = as its folder says."""
    memory: str | int | None = None
    """What the device's memory, or on a CPU this process, is to keep to, such as "8GB"; None = whatever it takes."""
    attention: str = "auto"
    """What computes attention, as `choose_attention` takes it."""
    quantize: str | None = None
    """One of QUANTIZATIONS, which gives the transformers' blocks weights of eight bits; None = none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A model without its weights, and how it will be computed."""

    name: str
    """What the model was called for."""
    outline: Model
    """The model, on the device `meta`; it stays an outline."""
    vocabulary: Vocabulary | None
    """The words that it learnt, if it says."""
    device: torch.device
    """Where it will be computed."""
    dtype: torch.dtype
    """Number type of the networks."""
    memory: int | None
    """What to keep to, in bytes; None = whatever it takes."""
    attention: str
    """What computes attention, by a name of KERNELS, or auto."""
    mix: Mix
    """The same as a function."""
    quantize: str | None
    """Which eight bits the transformers' weights get; None = none."""

    @property
    def dtype_name(self) -> str:
        """The number type by the name that a person gives."""
        return dtype_name(self.dtype)

    @property
    def comes_in_turn(self) -> bool:
        """Whether weights come when they are needed, not all at once."""
        return self.memory is not None or self.quantize is not None

    def load(self) -> Model:
        """Bring the weights, or an outline to fill if they come in turn. Raises CheckpointError for damaged numbers."""
        model = self.outline.take_copy()
        for dit in model.experts:
            dit.attend_by(self.mix)
        if not self.comes_in_turn:
            model.fill(self.device)
        return model


def prepare(name: str, options: LoadOptions) -> Prepared:
    """Find a model, look into its files, and check how it is to be computed; of the weights no number is read.

    Raises what `Pipeline.load` raises, but for damaged numbers.
    """
    memory = None if options.memory is None else parse_memory(options.memory)
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    if options.quantize is not None:
        check_quantize(options.quantize, device)
    outline = load_model(name, "meta", dtype)
    outline.check_files()
    return Prepared(
        name=name,
        outline=outline if options.causal is None else looking_back(outline, options.causal),
        vocabulary=Vocabulary.load(outline.folder) if outline.folder else None,
        device=device,
        dtype=dtype,
        memory=memory,
        attention=options.attention,
        mix=choose_attention(options.attention, device, dtype, outline.dit.config.head_dim),
        quantize=options.quantize,
    )
