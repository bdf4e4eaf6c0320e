"""Leave out most of a step that would hardly differ from the one before."""

from jaxtyping import Float
from torch import Tensor

from kinema.errors import SpecError


class StepCache:
    """What a transformer remembers of its last full step: what its first block added, and what the others did.

    When the first block adds nearly the same again, the others are not run: they are taken to add what they did.
    `threshold` is how much the first block's sum may change, as a share of its mean size; 0 leaves nothing out, 0.1 is
    a usual value. One cache serves one video and one transformer. Source: first-block caching (ParaAttention), after
    TeaCache (Liu et al. 2024, arXiv 2411.19108).
    """

    def __init__(self, threshold: float) -> None:
        if not threshold >= 0:
            raise SpecError(f"step_cache={threshold} is no share; give a number from 0 up, such as 0.1")
        self.threshold = threshold
        self.num_skipped = 0
        """Steps of which only the first block was run."""
        self._first: Tensor | None = None
        self._rest: Tensor | None = None

    def recall(self, first: Float[Tensor, "b t s d"]) -> Float[Tensor, "b t s d"] | None:
        """Give what the other blocks added when the first one added nearly `first`; None if they are to be run."""
        if self._first is None or self._first.shape != first.shape:
            return None
        change = (first - self._first).float().abs().mean() / self._first.float().abs().mean().clamp_min(1e-12)
        if not float(change) < self.threshold:
            return None
        self.num_skipped += 1
        return self._rest

    def remember(self, first: Float[Tensor, "b t s d"], rest: Float[Tensor, "b t s d"]) -> None:
        """Keep what the first block added in a full step, and what the others did."""
        self._first, self._rest = first, rest
