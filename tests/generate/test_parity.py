"""The whole pipeline against diffusers, from the words to the frames, on a toy model that diffusers made and saved."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch

from kinema.generate.noise import video_noise
from kinema.generate.pipeline import Pipeline
from kinema.media import write_video
from kinema.shapes import Stride
from kinema.spec import VideoSpec

TOLERANCE = 1e-4
STRIDE = Stride(4, 4, 4)
WORDS = ("a", "red", "blue", "ball", "box", "rolls", "to", "the", "left", "right", "blurry")
PROMPT, NEGATIVE = "a red ball rolls to the right", "blurry blue box"


def _save_reference(folder, *, expand_timesteps, scheduler):
    """Save a toy pipeline of diffusers' own classes, random weights, as diffusers saves it."""
    from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    vocabulary = {word: i for i, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=16
    )
    text = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(vocabulary), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0,
            eos_token_id=1, feed_forward_proj="gated-gelu", is_encoder_decoder=False, tie_word_embeddings=False,
        )
    )  # fmt: skip
    dit = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=24, in_channels=4, out_channels=4, text_dim=32,
        freq_dim=32, ffn_dim=96, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )  # fmt: skip
    vae = AutoencoderKLWan(
        base_dim=8, z_dim=4, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, True],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.8, 1.0, 1.2], scale_factor_spatial=4,
    )  # fmt: skip
    pipe = WanPipeline(
        tokenizer=fast, text_encoder=text.eval(), transformer=dit.eval(), vae=vae.eval(), scheduler=scheduler,
        expand_timesteps=expand_timesteps,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _scheduler(solver, shift):
    from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

    if solver == "euler":
        return FlowMatchEulerDiscreteScheduler(shift=shift)
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
    )


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of diffusers and transformers about themselves
        yield


def _ours(folder, **changes):
    pipeline = Pipeline.load(str(folder), "cpu", "float32")
    spec = VideoSpec(prompt=PROMPT, negative=NEGATIVE, frames=9, width=48, height=32, fps=8, steps=6, guidance=4.0)
    return pipeline, pipeline.resolve(dataclasses.replace(spec, **changes))


def _theirs(pipe, spec, output_type, **more):
    noise = video_noise(spec.seed, 4, spec.shape.to_latent(STRIDE))
    with torch.no_grad():
        return pipe(
            prompt=spec.prompt, negative_prompt=spec.negative, height=spec.height, width=spec.width,
            num_frames=spec.frames, num_inference_steps=spec.steps, guidance_scale=spec.guidance, latents=noise,
            output_type=output_type, max_sequence_length=16, **more,
        ).frames  # fmt: skip


@pytest.mark.parametrize(
    ("solver", "shift", "guidance", "expand_timesteps"),
    [("unipc", 3.0, 4.0, False), ("unipc", 5.0, 4.0, True), ("unipc", 3.0, 1.0, False), ("euler", 3.0, 4.0, False)],
)
def test_against_diffusers_text_to_video(tmp_path, solver, shift, guidance, expand_timesteps):
    pipe = _save_reference(tmp_path, expand_timesteps=expand_timesteps, scheduler=_scheduler(solver, shift))
    pipeline, spec = _ours(tmp_path, guidance=guidance)
    assert (spec.solver, spec.shift) == (solver, shift)
    latent = _theirs(pipe, spec, "latent")
    ours = pipeline.latents(spec)
    assert latent.std() > 0.5
    torch.testing.assert_close(ours, latent, rtol=0, atol=TOLERANCE)
    frames = torch.from_numpy(_theirs(pipe, spec, "np")[0])
    torch.testing.assert_close((pipeline.model.vae.decode(ours)[0] + 1) / 2, frames, rtol=0, atol=TOLERANCE)
    assert np.abs(pipeline(spec).frames.astype(int) - (frames.numpy() * 255).round().astype(int)).max() <= 1


def test_against_diffusers_image_to_video(tmp_path):
    from diffusers import WanImageToVideoPipeline
    from PIL import Image

    _save_reference(tmp_path, expand_timesteps=True, scheduler=_scheduler("unipc", 5.0))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    write_video(tmp_path / "first.png", [pixels], 1)
    pipeline, spec = _ours(tmp_path, image=str(tmp_path / "first.png"))
    reference = WanImageToVideoPipeline.from_pretrained(
        tmp_path, image_encoder=None, image_processor=None, expand_timesteps=True
    )
    reference.set_progress_bar_config(disable=True)
    with Image.open(spec.image) as image:
        latent = _theirs(reference, spec, "latent", image=image)
    torch.testing.assert_close(pipeline.latents(spec), latent, rtol=0, atol=TOLERANCE)


def test_diffusers_makes_the_same_of_the_shipped_model():
    """Its tokens are single cells, which diffusers cannot give times of their own: the folder must not ask it to."""
    from diffusers import WanPipeline

    pipeline = Pipeline.load("mini", "cpu", "float32")
    assert pipeline.model.reads_frames
    spec = pipeline.resolve(VideoSpec(prompt=PROMPT, frames=5, steps=3, guidance=4.0, seed=3))
    pipe = WanPipeline.from_pretrained(pipeline.model.folder)
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        frames = pipe(
            prompt=spec.prompt, negative_prompt=spec.negative, height=spec.height, width=spec.width,
            num_frames=spec.frames, num_inference_steps=spec.steps, guidance_scale=spec.guidance,
            latents=pipeline.noise(spec), max_sequence_length=pipeline.model.tokenizer.max_tokens,
        ).frames[0]  # fmt: skip
    apart = np.abs(pipeline(spec).frames - frames * 255)
    assert apart.max() < 5, apart.max()  # float32 in another order, through guidance and a decoder with sharp edges
    assert apart.mean() < 0.3, apart.mean()  # ours are whole numbers, which is 0.25 of it
