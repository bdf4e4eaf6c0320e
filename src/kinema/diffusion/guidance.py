"""Follow the prompt more closely than the network would by itself: guidance maps a `Velocity` to a `Velocity`."""

from jaxtyping import Float
from torch import Tensor

from kinema.diffusion.solver import Velocity
from kinema.errors import SpecError


def classifier_free(
    conditional: Velocity,
    paired: Velocity,
    scale: float,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
) -> Velocity:
    """Push the velocity away from the negative prompt, v = v_neg + scale (v_prompt - v_neg), in one network call.

    Both act on the same latents. `conditional` answers for their prompts; `paired` gives twice the batch, the answers
    for the prompts and then those for the negative prompts. Scale 1 is the prompt alone: `conditional` itself is
    returned, one call at half the cost; the same call is made at times outside `interval` (low < t <= high; for a
    batched time, its noisiest entry counts), where guidance costs variety and helps little. `rescale` in [0, 1] pulls
    the contrast of each clip's velocity back to that of the unguided one, against burnt colours at high scales. Raises
    SpecError for an interval or rescale outside [0, 1].
    Sources: Ho and Salimans 2022 (arXiv 2207.12598), equation 6; interval: Kynkaanniemi et al. 2024 (arXiv 2404.07724);
    rescale: Lin et al. 2023 (arXiv 2305.08891), equations 15 and 16, on the velocity.
    """
    low, high = interval
    if not 0 <= low < high <= 1:
        raise SpecError(f"interval={interval} is not a span of times; give (low, high) with 0 <= low < high <= 1")
    if not 0 <= rescale <= 1:
        raise SpecError(f"rescale={rescale} is not a share; give a number from 0 (off) to 1, such as 0.7")
    if scale == 1:
        return conditional
    always = low == 0 and high == 1

    def guided(latent: Float[Tensor, "b *axes"], time: Float[Tensor, "..."]) -> Float[Tensor, "b *axes"]:
        if not always and not low < float(time.max()) <= high:
            return conditional(latent, time)
        prompt, negative = paired(latent, time).chunk(2)
        velocity = negative + scale * (prompt - negative)
        return _rescaled(velocity, prompt, rescale) if rescale else velocity

    return guided


def _rescaled(velocity: Tensor, prompt: Tensor, share: float) -> Tensor:
    axes = tuple(range(1, velocity.ndim))
    ratio = prompt.std(dim=axes, keepdim=True) / velocity.std(dim=axes, keepdim=True).clamp_min(1e-12)
    return velocity * (share * ratio + (1 - share))
