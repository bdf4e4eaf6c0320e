"""A request checked against its model: every default filled in, and all that it cannot do refused before any work."""

import dataclasses

from kinema.config import unknown
from kinema.diffusion import SCHEDULES, SOLVERS
from kinema.errors import SpecError
from kinema.generate.ability import check_edit, check_made, check_request
from kinema.generate.canvas import Canvas
from kinema.generate.condition import nature_of, read_pictures
from kinema.generate.edit import settle
from kinema.generate.experts import causal_model
from kinema.generate.join import settle_join
from kinema.generate.storyboard import check_layout
from kinema.model import Model
from kinema.model.lora import read_lora
from kinema.shapes import Stride
from kinema.spec import Join, KeyFrames, Storyboard, VideoSpec


def resolve(spec: VideoSpec, model: Model, name: str, stride: Stride) -> VideoSpec:
    """Do what `Pipeline.resolve` promises; `name` is what the model was called for, `stride` that of its tokens."""
    if isinstance(spec.edit, Join):
        return dataclasses.replace(settle_join(spec), model=name)
    nature = nature_of(model)
    if spec.edit is not None:
        check_edit(nature, spec.edit, name)
        if not isinstance(spec.edit, KeyFrames | Storyboard):

            def check(canvas: Canvas) -> None:
                check_made(nature, canvas.made, stride.time, name)

            spec = settle(spec, model.defaults, stride, model.causal, check)
    resolved = dataclasses.replace(spec, model=name).resolve(model.defaults, stride)
    solvers = SCHEDULES if model.causal is not None else SOLVERS
    if resolved.solver not in solvers:
        raise SpecError(unknown("solver", str(resolved.solver), solvers))
    if resolved.changes and model.causal is None:
        raise SpecError(
            f"{name} makes all frames at once, so its prompt cannot change on the way; "
            f"use {causal_model()}, or one prompt"
        )
    prompts = [resolved.prompt, *(prompt for _, prompt in resolved.changes)]
    if isinstance(resolved.edit, Storyboard):
        prompts += [card.prompt for card in resolved.edit.cards if card.prompt is not None]
    model.tokenizer.encode(prompts)
    model.tokenizer.encode([resolved.negative or ""], "negative prompt")
    check_request(nature, resolved, name)
    for path, _ in resolved.loras:
        read_lora(path, model.dit)
    read_pictures(resolved, stride)
    check_layout(resolved, stride)
    return resolved
