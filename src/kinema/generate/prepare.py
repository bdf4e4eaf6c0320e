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


def prepare(
    name: str,
    device: str | None = None,
    dtype: str | None = None,
    causal: str | None = None,
    memory: str | int | None = None,
    attention: str = "auto",
    quantize: str | None = None,
) -> Prepared:
    """Find a model, look into its files, and check how it is to be computed; of the weights no number is read.

    Takes what `Pipeline.load` takes, and raises what it raises, but for damaged numbers.
    """
    amount = None if memory is None else parse_memory(memory)
    chosen = choose_device(device)
    number_type = choose_dtype(dtype, chosen)
    if quantize is not None:
        check_quantize(quantize, chosen)
    outline = load_model(name, "meta", number_type)
    outline.check_files()
    return Prepared(
        name=name,
        outline=outline if causal is None else looking_back(outline, causal),
        vocabulary=Vocabulary.load(outline.folder) if outline.folder else None,
        device=chosen,
        dtype=number_type,
        memory=amount,
        attention=attention,
        mix=choose_attention(attention, chosen, number_type, outline.dit.config.head_dim),
        quantize=quantize,
    )
