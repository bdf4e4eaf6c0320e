"""The recipes that `kinema train NAME` runs. Each line says what was measured with it, or that nothing was."""

from kinema.diffusion.objective import TimeSampling
from kinema.model.causal import CausalConfig
from kinema.train.config import (
    CausalRecipe,
    ConsistencyStage,
    CorpusConfig,
    FlowStage,
    ForcingStage,
    GroundingConfig,
    OptimConfig,
    Phase,
    Recipe,
    VAEStage,
)

RECIPES: dict[str, Recipe] = {
    # Two CPU cores, five hours; the shipped weights saw a third of the transformer's clips.
    "mini": Recipe(
        preset="mini",
        corpus=CorpusConfig(clips=16_256),
        vae=VAEStage(
            clips=140_000,
            batch_size=4,
            optim=OptimConfig(
                learning_rate=1e-3,
                muon_learning_rate=2e-3,
                schedule="stable_decay",
                decay_share=0.25,
                warmup_clips=1_000,
                ema_decay=0.998,
            ),
            phases=(
                Phase(until=0.69, frames=1, batch_size=32, crop=32),
                Phase(until=0.86, frames=5, batch_size=16, crop=32),
                Phase(until=0.99, frames=9, batch_size=8, crop=32),
            ),
            kl_weight=2e-4,
            validate_every=9_000,
            sample_every=36_000,
            checkpoint_every=9_000,
        ),
        flow=FlowStage(
            clips=200_000,
            batch_size=24,
            optim=OptimConfig(
                learning_rate=1e-3,
                muon_learning_rate=2e-3,
                schedule="stable_decay",
                warmup_clips=4_000,
                ema_decay=0.998,
            ),
            grounding=GroundingConfig(block=3, weight=0.1),
            validate_every=4_000,
            sample_every=16_000,
            checkpoint_every=2_000,
        ),
    ),
    # The next size, on one GPU: kinema train mini-gpu --init mini goes on from the autoencoder.  # not measured
    "mini-gpu": Recipe(
        preset="mini-128",
        corpus=CorpusConfig(clips=24_320, frames=25, height=128, width=128, fps=12.0),
        vae=VAEStage(
            clips=200_000,
            batch_size=16,
            optim=OptimConfig(
                learning_rate=1e-3,
                muon_learning_rate=2e-3,
                schedule="stable_decay",
                warmup_clips=2_000,
                ema_decay=0.998,
            ),
            phases=(Phase(until=0.9, frames=9, batch_size=64, crop=64),),
            compile=True,
            validate_every=20_000,
            sample_every=100_000,
            checkpoint_every=10_000,
        ),
        flow=FlowStage(
            clips=800_000,
            batch_size=256,
            optim=OptimConfig(
                learning_rate=1e-3,
                muon_learning_rate=2e-3,
                schedule="stable_decay",
                warmup_clips=20_000,
                ema_decay=0.999,
            ),
            times=TimeSampling(shift=5.0),
            grounding=GroundingConfig(block=4, weight=0.1),
            compile=True,
            workers=12,
            validate_every=25_600,
            sample_every=204_800,
            checkpoint_every=25_600,
        ),
    ),
    # Seconds on a CPU: proves that every stage works, learns next to nothing.
    "tiny": Recipe(
        preset="tiny",
        corpus=CorpusConfig(clips=16, validation_clips=8, frames=5, height=32, width=32),
        vae=VAEStage(
            clips=48,
            batch_size=4,
            optim=OptimConfig(learning_rate=2e-3, warmup_clips=8),
            phases=(Phase(until=0.5, frames=1, batch_size=8),),
            precision="float32",
            validate_every=24,
            sample_every=48,
            checkpoint_every=16,
        ),
        flow=FlowStage(
            clips=48,
            batch_size=8,
            optim=OptimConfig(learning_rate=1e-3, warmup_clips=8),
            precision="float32",
            validate_every=24,
            sample_every=48,
            checkpoint_every=16,
        ),
    ),
}

CAUSAL_RECIPES: dict[str, CausalRecipe] = {
    # Two CPU cores, two hours.  # not measured
    "mini-causal": CausalRecipe(
        init="mini",
        corpus=CorpusConfig(clips=16_256),
        causal=CausalConfig(block=1, window=5, sink=1, positions="relative"),
        forcing=ForcingStage(
            clips=60_000,
            batch_size=32,
            optim=OptimConfig(
                learning_rate=3e-4,
                muon_learning_rate=5e-4,
                schedule="stable_decay",
                warmup_clips=2_000,
                ema_decay=0.998,
            ),
            validate_every=6_000,
            sample_every=30_000,
            checkpoint_every=3_000,
        ),
        consistency=ConsistencyStage(
            clips=30_000,
            batch_size=16,
            optim=OptimConfig(
                learning_rate=1e-4,
                muon_learning_rate=2e-4,
                schedule="stable_decay",
                warmup_clips=1_000,
                ema_decay=0.99,
            ),
            validate_every=3_000,
            sample_every=15_000,
            checkpoint_every=1_500,
        ),
    ),
    # Seconds on a CPU, from a model of the recipe `tiny` (--init runs/tiny/model): proves that every stage works.
    "tiny-causal": CausalRecipe(
        init="runs/tiny/model",
        corpus=CorpusConfig(clips=16, validation_clips=8, frames=9, height=32, width=32),
        causal=CausalConfig(block=1, window=3, sink=1, positions="relative"),
        forcing=ForcingStage(
            clips=16,
            batch_size=8,
            optim=OptimConfig(learning_rate=1e-3, warmup_clips=8),
            precision="float32",
            validate_every=16,
            sample_every=16,
            checkpoint_every=8,
        ),
        consistency=ConsistencyStage(
            clips=16,
            batch_size=8,
            optim=OptimConfig(learning_rate=1e-4, warmup_clips=8),
            precision="float32",
            validate_every=16,
            sample_every=16,
            checkpoint_every=8,
        ),
        steps=2,
    ),
}
