"""What a training run is: frozen dataclasses, one per stage, and the recipes that put them together.

A run is measured in clips, never in steps: a schedule stated in clips means the same at any batch size.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from kinema.diffusion.objective import TimeSampling
from kinema.errors import SpecError
from kinema.model.causal import CausalConfig
from kinema.shapes import VideoShape
from kinema.world.scene import LEAST_CHANGING, MOST_OBJECTS

Precision = Literal["bfloat16", "float32"]


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """The rendered clips that a run learns from."""

    clips: int
    """Number of clips rendered for training."""
    validation_clips: int = 128
    """Number of clips of the training distribution kept apart for validation."""
    frames: int = 17
    """Frames of a clip."""
    height: int = 64
    """Rows of a frame, in pixels."""
    width: int = 64
    """Columns of a frame, in pixels."""
    fps: float = 8.0
    """Frames per second."""
    first_seed: int = 1_000_000
    """Seed of the first scene; the validation scenes follow the training scenes."""
    least_objects: int = 1
    """Scenes of fewer objects are passed over: to tell several things apart is the hard part of a prompt."""
    moving: float | None = None
    """Share of the clips in which the camera moves, as every caption then says; None = as scenes are drawn, about half,
    of which half the captions say it. What moves everything a little is what a small model learns last."""
    changing: float = 0.0
    """Share of the training clips that turn into what their caption says on the way (see `world/changing.py`): what a
    causal transformer learns to follow a prompt from that changes. Only for recipes of such."""

    def __post_init__(self) -> None:
        """Refuse what no scene has."""
        if not 0 <= self.changing <= 1:
            raise SpecError(f"changing={self.changing} is no share of clips; use 0 to 1")
        if self.changing > 0 and self.frames < LEAST_CHANGING:
            raise SpecError(
                f"frames={self.frames} are too few for clips that change on their way; use {LEAST_CHANGING} or more, "
                "or changing=0"
            )
        if self.moving is not None and not 0 < self.moving <= 1:
            raise SpecError(f"moving={self.moving} is no share of clips; use more than 0, up to 1")
        if self.moving is not None and self.changing > 0:
            raise SpecError("moving and changing both choose what captions must say; leave one out")
        if not 1 <= self.least_objects <= MOST_OBJECTS:
            raise SpecError(
                f"least_objects={self.least_objects} leaves no scenes; they have 1 to {MOST_OBJECTS} objects"
            )

    @property
    def shape(self) -> VideoShape:
        """Size of a clip."""
        return VideoShape(self.frames, self.height, self.width)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How weights move."""

    learning_rate: float
    """Peak learning rate of AdamW."""
    muon_learning_rate: float | None = None
    """Learning rate of Muon for hidden matrices and kernels, on AdamW's scale; None trains them with AdamW as well."""
    schedule: Literal["cosine", "constant", "stable_decay"] = "cosine"
    """Shape of the learning rate after the warm-up; "stable_decay" is constant and then falls in a straight line."""
    decay_share: float = 0.3
    """Share of the clips, at the end, over which "stable_decay" falls."""
    final_share: float = 0.02
    """Share of the peak that the schedule ends at, unless it is constant."""
    warmup_clips: int = 2_000
    """Clips over which the learning rate rises from zero."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of AdamW's two moments."""
    weight_decay: float = 0.01
    """Decoupled weight decay of matrices and kernels; vectors have none."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; longer ones are scaled down."""
    ema_decay: float = 0.999
    """Decay per step of the averaged weights that are validated and shipped."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a stage with clips of one length and size: short and small ones make many steps."""

    until: float
    """Share of the stage's clips at which the phase ends, in (0, 1]."""
    frames: int
    """Frames per clip: time stride * k + 1. The transformer learns from the first frames of each clip."""
    batch_size: int
    """Clips per step."""
    crop: int | None = None
    """Side of a square cut from each clip, in pixels, a multiple of the stride; None = the whole picture. Only for the
    autoencoder."""


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What the loop needs to know, whatever it trains."""

    clips: int
    """Clips to train on, counting repeats."""
    batch_size: int
    """Clips per step."""
    optim: OptimConfig
    """How weights move."""
    seed: int = 0
    """Seed of the initial weights, of the order of the clips and of all noise."""
    precision: Precision = "bfloat16"
    """Arithmetic of the forward and backward passes; weights and optimizer stay in float32."""
    compile: bool = False
    """Whether to compile the networks: a minute or two at the start, faster steps after it."""
    recompute: bool = False
    """Whether blocks are computed again in the backward pass instead of kept: for models that would not fit."""
    workers: int = 0
    """Processes that word captions ahead of the steps, or judge videos, for devices that would wait for them."""
    validate_every: int = 4_000
    """Clips between two validations."""
    sample_every: int = 16_000
    """Clips between two sheets of samples."""
    checkpoint_every: int = 4_000
    """Clips between two checkpoints."""

    least_clips: ClassVar[int] = 1
    """Fewest clips that a stage of this kind may be asked for."""

    def size_at(self, clips_seen: int) -> int:  # noqa: ARG002 - the same throughout; stages with phases differ
        """Clips of the step that starts after `clips_seen`."""
        return self.batch_size

    def shows_pictures(self, clips_seen: int) -> bool:  # noqa: ARG002 - likewise
        """Whether the step after `clips_seen` is one of single frames between those of whole clips."""
        return False

    def __post_init__(self) -> None:
        """Refuse sizes that make no run."""
        for name in ("clips", "batch_size", "validate_every", "sample_every", "checkpoint_every"):
            least = self.least_clips if name == "clips" else 1
            if getattr(self, name) < least:
                raise SpecError(f"{name}={getattr(self, name)} is no run; give a number of at least {least}")


@dataclass(frozen=True, kw_only=True)
class VelocityStage(StageConfig):
    """A stage that learns the velocity of clips, in the words of their captions."""

    times: TimeSampling = field(default_factory=lambda: TimeSampling(shift=3.0))
    """At which times the network looks at its clips, or at their blocks, each of which then has a time of its own."""
    channel_power: float = 0.0
    """Power of what the decoder makes of a channel by which that channel's error counts (see `channels.py`); 0 = all
    count alike."""
    drop_text: float = 0.1
    """Share of the captions replaced by the empty prompt, for classifier-free guidance."""

    def __post_init__(self) -> None:
        """Refuse powers and shares that are none."""
        super().__post_init__()
        if not 0 <= self.channel_power < float("inf"):
            raise SpecError(
                f"channel_power={self.channel_power} would count most what nobody sees; use 0 (all channels alike) to "
                "1 (as pixels)"
            )
        if not 0 <= self.drop_text <= 1:
            raise SpecError(f"drop_text={self.drop_text} is no share of captions; use 0 to 1")


@dataclass(frozen=True, kw_only=True)
class PhasedStage(StageConfig):
    """A stage that may begin with short and small clips."""

    phases: tuple[Phase, ...] = ()
    """Lengths of the clips over time: single frames first teach pictures quickly. Empty: whole clips throughout."""
    pictures: int = 0
    """Clips of which a single frame is learnt from, in a step of their own after every step of whole clips."""

    def phase(self, clips_seen: int, frames: int) -> Phase:
        """Give the phase of the step after `clips_seen`; after the last one, whole clips of `frames` and pictures."""
        for phase in self.phases:
            if clips_seen < phase.until * self.clips:
                return phase
        if self.shows_pictures(clips_seen):
            return Phase(until=1.0, frames=1, batch_size=self.pictures)
        return Phase(until=1.0, frames=frames, batch_size=self.batch_size)

    def shows_pictures(self, clips_seen: int) -> bool:
        """Whether the step after `clips_seen` is one of single frames between those of whole clips."""
        if any(clips_seen < phase.until * self.clips for phase in self.phases):
            return False
        return clips_seen % (self.batch_size + self.pictures) >= self.batch_size

    def size_at(self, clips_seen: int) -> int:
        """Clips of the step that starts after `clips_seen`."""
        return self.phase(clips_seen, 0).batch_size


@dataclass(frozen=True, kw_only=True)
class VAEStage(PhasedStage):
    """Training of the video autoencoder; `clips` = 0 takes that of the model to go on from as it is."""

    least_clips = 0
    decoder_only: bool = False
    """Whether the encoder stays as it is, so that its latents, and what was learnt on them, stay good."""
    kl_weight: float = 1e-4
    """Weight of the mean Kullback-Leibler divergence per latent number against the mean absolute error per pixel."""
    object_weight: float = 1.0
    """How much more an error counts where a latent's cell shows nothing but objects; 1 = as much as elsewhere."""
    anchor: float = 0.0
    """Weight of the squared change of the latents, against those that the autoencoder gave before (see `anchor.py`)."""

    def __post_init__(self) -> None:
        """Refuse weights that would reward errors, and an anchor for what does not move."""
        super().__post_init__()
        for name in ("kl_weight", "object_weight", "anchor"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SpecError(f"vae.{name}={getattr(self, name)} is no weight of an error; give a number from 0 on")
        if self.decoder_only and self.anchor > 0:
            raise SpecError(
                f"vae.anchor={self.anchor} holds latents, which vae.decoder_only=true leaves as they are; leave out one"
            )


@dataclass(frozen=True, kw_only=True)
class ConditioningShares:
    """How often a training clip comes with clean frames; the rest of the clips is text only."""

    first: float = 0.15
    """The first latent frame is given."""
    prefix: float = 0.10
    """Two or more first latent frames are given."""
    ends: float = 0.05
    """The first and the last latent frame are given."""


@dataclass(frozen=True, kw_only=True)
class GroundingConfig:
    """A second task of the transformer while it trains: to tell where each object is (see `grounding.py`)."""

    block: int
    """Number of the block, from 0, whose tokens must tell."""
    weight: float = 0.25
    """Weight of that cross-entropy, in nats per token, against the error of the velocity."""
    object_weight: float = 1.0
    """How much more the velocity's error counts where a cell shows nothing but objects; 1 = as much as elsewhere."""
    object_until: float = 0.7
    """Time up to which it counts more: later, where an object will be is open, and to count more would invite more."""


@dataclass(frozen=True, kw_only=True)
class FlowStage(VelocityStage, PhasedStage):
    """Training of the diffusion transformer, and of the text encoder with it; `clips` = 0 takes them as they are."""

    least_clips = 0
    conditioning: ConditioningShares = field(default_factory=ConditioningShares)
    """How often clean frames are given."""
    grounding: GroundingConfig | None = None
    """The second task; None = none."""
    binding: float = 0.0
    """Weight of the text encoder's own task, in nats per token that names an object (see `binding.py`); 0 = none."""
    train_text: bool = True
    """Whether the text encoder moves; one that stays can be shared by all models that learnt from it."""

    def __post_init__(self) -> None:
        """Refuse what only the autoencoder's phases have, and a task for a text encoder that does not move."""
        super().__post_init__()
        if self.binding > 0 and not self.train_text:
            raise SpecError(
                f"flow.binding={self.binding} is a task of the text encoder, but flow.train_text=false keeps it as it "
                "is; give flow.binding=0 too"
            )
        crops = [phase.crop for phase in self.phases if phase.crop is not None]
        if crops:
            raise SpecError(f"a phase has crop={crops[0]}, but latents are not cut; leave it out of flow.phases")


@dataclass(frozen=True, kw_only=True)
class RewardStage(PhasedStage):
    """Training of the diffusion transformer on videos that it makes itself, by what a judge finds in them."""

    group: int = 8
    """Videos of one prompt, which are judged against each other; batch_size and pictures are multiples of it."""
    passes: int = 4
    """How often each video is learnt from, every time at another time and with other noise."""
    steps: int = 6
    """Steps in which the videos are made."""
    shift: float = 3.0
    """Shift of those steps towards noise."""
    guidance: float = 2.5
    """Guidance of those steps."""
    strength: float = 1.0
    """How far the velocity is taken beyond the old one before it is judged; a smaller one learns more from the same."""
    follow: float = 0.5
    """How far the network that makes the videos moves towards the one that learns, whenever new ones are made."""
    times: TimeSampling = field(default_factory=lambda: TimeSampling(distribution="uniform", shift=3.0))
    """At which times the network looks at its videos."""

    def __post_init__(self) -> None:
        """Refuse videos that have no others to be judged against, and clips cut short."""
        super().__post_init__()
        if self.phases:
            raise SpecError("reward.phases would judge clips cut short; leave it empty")
        if self.group < 2:
            raise SpecError(f"reward.group={self.group} leaves a video nothing to be judged against; give at least 2")
        for name, size in (("batch_size", self.batch_size), ("pictures", self.pictures)):
            if size % self.group:
                nearest = max(1, round(size / self.group)) * self.group
                raise SpecError(
                    f"reward.{name}={size} is no multiple of reward.group={self.group}; give {nearest}, for example"
                )
        for name in ("passes", "steps"):
            if getattr(self, name) < 1:
                raise SpecError(f"reward.{name}={getattr(self, name)} does nothing; give at least 1")
        if not 0 < self.follow <= 1:
            raise SpecError(f"reward.follow={self.follow} is no share of the way; give one above 0, up to 1")
        if not self.strength > 0:
            raise SpecError(f"reward.strength={self.strength} learns nothing; give a number above 0, such as 1")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What `kinema train NAME` runs, in order: corpus, tokenizer, grounding, vae, latents, flow, reward, export."""

    preset: str
    """Name of the architecture in `kinema.model.presets`."""
    corpus: CorpusConfig
    """The clips."""
    vae: VAEStage
    """The autoencoder."""
    flow: FlowStage
    """The diffusion transformer and the text encoder."""
    reward: RewardStage | None = None
    """What the transformer learns from its own videos at the end; None = nothing."""
    pictures: CorpusConfig | None = None
    """Single frames for the steps of `flow.pictures`; None takes the first frames of the clips."""

    def __post_init__(self) -> None:
        """Refuse clips that change, and pictures that do not go with the clips."""
        if self.corpus.changing > 0:
            raise SpecError(
                f"corpus.changing={self.corpus.changing}, but this model sees its whole clip at once; leave it at 0, "
                "and give it to a recipe that makes the model causal"
            )
        if self.pictures is None:
            return
        if self.pictures.frames != 1:
            raise SpecError(f"pictures.frames={self.pictures.frames}; a picture is one frame, so give 1")
        sizes = [(corpus.height, corpus.width) for corpus in (self.corpus, self.pictures)]
        if sizes[0] != sizes[1]:
            (height, width), (h, w) = sizes
            raise SpecError(f"pictures of {w}x{h} do not go with clips of {width}x{height}; give both one size")
        if self.flow.pictures == 0:
            raise SpecError(
                "pictures are given, but flow.pictures=0 leaves no step to learn from them; give 24 or more"
            )


@dataclass(frozen=True, kw_only=True)
class ForcingStage(VelocityStage):
    """Training of a transformer that looks back only, on all blocks of a clip at once (teacher forcing)."""


@dataclass(frozen=True, kw_only=True)
class ConsistencyStage(StageConfig):
    """Distillation of the causal transformer into one of few steps and without guidance."""

    grid_steps: int = 48
    """Steps of the teacher's path from noise to data, of which each training step takes one."""
    shift: float = 5.0
    """Shift of that path towards noise."""
    guidance: float = 3.0
    """Guidance of the teacher, which the student learns to do without."""
    huber: float = 0.03
    """Where the loss turns from squares to distances, per number (Song and Dhariwal 2023, section 3.3)."""


@dataclass(frozen=True, kw_only=True)
class SelfForcingStage(StageConfig):
    """Training of the causal transformer on videos that it makes itself, judged by teacher and critic."""

    frames: int
    """Latent frames of those videos; more than a clip has teaches it to go on for long."""
    critic_steps: int = 5
    """Steps of the critic between two of the student."""
    guidance: float = 4.0
    """Guidance of the teacher, which the student learns to do without."""
    steps: int = 4
    """Steps that the student takes per block."""
    shift: float = 5.0
    """Shift of those steps, and of the times at which the judges look, towards noise."""
    times: tuple[float, float] = (0.02, 0.98)
    """Least and greatest time at which the judges look."""


@dataclass(frozen=True, kw_only=True)
class CausalRecipe:
    """What makes a streaming model of a finished one; `kinema.train.stages.CAUSAL_STAGES` are its stages."""

    init: str
    """Name or folder of the model to start from; its autoencoder, text encoder and tokenizer stay as they are."""
    corpus: CorpusConfig
    """The clips."""
    causal: CausalConfig
    """How the model looks back."""
    forcing: ForcingStage
    """Makes the transformer causal."""
    consistency: ConsistencyStage | None = None
    """Makes it fast; None = it keeps the steps and the guidance of the model to start from."""
    self_forcing: SelfForcingStage | None = None
    """Makes it good at what it makes itself; None = that is left out."""
    long: SelfForcingStage | None = None
    """The same on videos that are longer than the clips; None = that is left out."""
    steps: int = 4
    """Steps that the streaming model takes per block once it is fast."""

    def __post_init__(self) -> None:
        """Refuse stages without those that they go on from."""
        for name, before in (("self_forcing", "consistency"), ("long", "self_forcing")):
            if getattr(self, name) is not None and getattr(self, before) is None:
                raise SpecError(f"{name} goes on from {before}, which this recipe leaves out; leave out {name} too")
