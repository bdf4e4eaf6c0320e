"""Every family of published models as a toy that diffusers made and saved: the same latents here, from file to file."""

import warnings

import numpy as np
import pytest
import torch

from kinema.errors import SpecError
from kinema.generate.experts import hand_over
from kinema.generate.noise import video_noise
from kinema.generate.pipeline import Pipeline
from kinema.media import write_video
from kinema.model import load_model, save_model
from kinema.spec import VideoSpec

TOLERANCE = 1e-4
WORDS = ("a", "red", "ball", "rolls", "blurry", "box")
PROMPT, NEGATIVE = "a red ball rolls", "blurry box"
CLIP = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14, "hidden_act": "gelu", "projection_dim": 8}  # fmt: skip
WAN21 = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 2, 2], "num_res_blocks": 1, "temperal_downsample": [True, True],
         "scale_factor_spatial": 4}  # fmt: skip
WAN22 = {"base_dim": 8, "decoder_base_dim": 8, "z_dim": 4, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1,
         "is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12,
         "scale_factor_spatial": 16}  # fmt: skip
STATISTICS = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 0.8, 1.0, 1.2]}


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of diffusers and transformers about themselves
        yield


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(  # 512 tokens, because diffusers finds the image tokens by that number
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    )


def _transformer(seed, *, in_channels=4, image_tokens=None):
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    image = {} if image_tokens is None else {"image_dim": 16, "added_kv_proj_dim": 48}
    dit = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=24, in_channels=in_channels, out_channels=4,
        text_dim=32, freq_dim=32, ffn_dim=96, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32, pos_embed_seq_len=image_tokens or None, **image,
    )  # fmt: skip
    if image_tokens:
        torch.nn.init.normal_(dit.condition_embedder.image_embedder.pos_embed)
    return dit.eval()


def _save(folder, kind, *, vae=WAN21, boundary=None, expand_timesteps=False, image_tokens=None):
    """Save a toy pipeline of diffusers' own classes; `image_tokens` is None without CLIP, 0 without positions."""
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    text = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(WORDS) + 3, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0,
            eos_token_id=1, feed_forward_proj="gated-gelu", is_encoder_decoder=False, tie_word_embeddings=False,
        )
    )  # fmt: skip
    in_channels = 12 if kind == "image" and not expand_timesteps else 4
    parts = {
        "tokenizer": _tokenizer(),
        "text_encoder": text.eval(),
        "vae": AutoencoderKLWan(**vae, **STATISTICS).eval(),
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
        ),
        "transformer": _transformer(1, in_channels=in_channels, image_tokens=image_tokens),
        "transformer_2": None if boundary is None else _transformer(2, in_channels=in_channels),
        "boundary_ratio": boundary,
        "expand_timesteps": expand_timesteps,
    }
    if kind == "image":
        has_clip = image_tokens is not None
        parts["image_encoder"] = CLIPVisionModel(CLIPVisionConfig(**CLIP)).eval() if has_clip else None
        parts["image_processor"] = CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ) if has_clip else None  # fmt: skip
    pipe = (WanImageToVideoPipeline if kind == "image" else WanPipeline)(**parts)
    pipe.save_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _picture(folder, name, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    write_video(folder / name, [pixels], 1)
    return str(folder / name)


def _agree(pipe, folder, **changes):
    """Make the same latents with both, and compare; returns our pipeline and request."""
    from PIL import Image

    ours = Pipeline.load(str(folder), "cpu", "float32")
    spec = ours.resolve(
        VideoSpec(
            prompt=PROMPT, negative=NEGATIVE, frames=9, width=64, height=32, fps=8, steps=4,
            **{"guidance": 4.0, **changes},
        )
    )  # fmt: skip
    more = {} if spec.guidance_low is None else {"guidance_scale_2": spec.guidance_low}
    if spec.image is not None:
        more["image"] = Image.open(spec.image)
        if spec.last_image is not None:
            more["last_image"] = Image.open(spec.last_image)
    noise = video_noise(spec.seed, 4, spec.shape.to_latent(ours.model.vae.stride))
    with torch.no_grad():
        theirs = pipe(
            prompt=PROMPT, negative_prompt=NEGATIVE, height=32, width=64, num_frames=9, num_inference_steps=4,
            guidance_scale=spec.guidance, latents=noise, output_type="latent", max_sequence_length=512, **more,
        ).frames  # fmt: skip
    assert theirs.std() > 0.3
    torch.testing.assert_close(ours.latents(spec), theirs, rtol=0, atol=TOLERANCE)
    return ours, spec


def test_image_to_video_with_image_tokens(tmp_path):
    pipe = _save(tmp_path, "image", image_tokens=0)
    first = _picture(tmp_path, "first.png", 0)
    ours, spec = _agree(pipe, tmp_path, image=first)
    assert ours.model.image is not None
    other = _picture(tmp_path, "other.png", 1)
    assert not torch.equal(ours.latents(spec), ours.latents(ours.resolve(VideoSpec(**{**vars(spec), "image": other}))))
    with pytest.raises(SpecError, match="starts from a picture"):
        ours.resolve(VideoSpec(prompt=PROMPT))
    with pytest.raises(SpecError, match=r"cannot end on a picture; use mini, wan2.2-5b, wan2.1-flf2v-14b"):
        ours.resolve(VideoSpec(prompt=PROMPT, frames=9, width=64, height=32, image=first, last_image=first))


def test_first_and_last_picture_with_positions(tmp_path):
    pipe = _save(tmp_path, "image", image_tokens=2 * 5)
    pictures = {"image": _picture(tmp_path, "first.png", 0), "last_image": _picture(tmp_path, "last.png", 1)}
    ours, _ = _agree(pipe, tmp_path, **pictures)
    with pytest.raises(SpecError, match="give last_image too"):
        ours.resolve(VideoSpec(prompt=PROMPT, frames=9, width=64, height=32, image=pictures["image"]))


@pytest.mark.parametrize(("guidance", "low"), [(4.0, 3.0), (4.0, 1.0), (1.0, None)])
def test_two_experts_with_a_guidance_each(tmp_path, guidance, low):
    pipe = _save(tmp_path, "text", boundary=0.875)
    ours, spec = _agree(pipe, tmp_path, guidance=guidance, guidance_low=low)
    assert ours.model.boundary == 0.875
    one = Pipeline(ours.model, name="same")
    one.model.dit_low = one.model.dit
    assert not torch.equal(one.latents(spec), Pipeline.load(str(tmp_path), "cpu", "float32").latents(spec))


def test_two_experts_that_start_and_end_on_pictures(tmp_path):
    pipe = _save(tmp_path, "image", boundary=0.9)
    first, last = _picture(tmp_path, "first.png", 0), _picture(tmp_path, "last.png", 1)
    _agree(pipe, tmp_path, image=first, guidance=3.5)
    _agree(pipe, tmp_path, image=first, last_image=last, guidance=3.5)


def test_the_autoencoder_of_wan22_in_the_whole_pipeline(tmp_path):
    from diffusers import WanImageToVideoPipeline

    pipe = _save(tmp_path, "text", vae=WAN22, expand_timesteps=True)
    ours, _ = _agree(pipe, tmp_path)
    assert ours.model.vae.stride.height == 16
    parts = {name: part for name, part in pipe.components.items() if name != "transformer_2"}
    reference = WanImageToVideoPipeline(**parts, expand_timesteps=True)
    reference.set_progress_bar_config(disable=True)
    _agree(reference, tmp_path, image=_picture(tmp_path, "first.png", 0))


@pytest.mark.parametrize(
    ("kind", "more"),
    [("image", {"image_tokens": 10}), ("image", {"boundary": 0.9}), ("text", {"boundary": 0.875})],
)
def test_a_family_is_saved_as_it_was_loaded(tmp_path, kind, more):
    from diffusers import DiffusionPipeline

    _save(tmp_path / "theirs", kind, **more)
    model = load_model(tmp_path / "theirs")
    save_model(model, tmp_path / "ours")
    again = load_model(tmp_path / "ours")
    assert (again.boundary, again.reads_frames) == (model.boundary, model.reads_frames)
    for one, other in zip(model.experts, again.experts, strict=True):
        assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())
    pipe = DiffusionPipeline.from_pretrained(tmp_path / "ours")
    assert type(pipe).__name__ == ("WanImageToVideoPipeline" if kind == "image" else "WanPipeline")
    assert pipe.config.boundary_ratio == model.boundary


def test_the_expert_for_high_noise_answers_from_the_boundary_up():
    asked = []

    def expert(name):
        return lambda latent, times: (asked.append(name), latent)[1]

    velocity = hand_over(expert("high"), expert("low"), 0.9)
    for time in (1.0, 0.901, 0.9, 0.899, 0.0):
        velocity(torch.zeros(1), torch.full((1, 2), time))
    assert asked == ["high", "high", "high", "low", "low"]


def test_a_model_that_reads_only_text_refuses_a_picture(tmp_path):
    _save(tmp_path, "text")
    ours = Pipeline.load(str(tmp_path), "cpu", "float32")
    with pytest.raises(SpecError, match=r"from text only; to start from a picture use mini, wan2.1-i2v-14b"):
        ours.resolve(VideoSpec(prompt=PROMPT, frames=9, width=64, height=32, image=_picture(tmp_path, "first.png", 0)))
    with pytest.raises(SpecError, match="has one transformer"):
        ours.resolve(VideoSpec(prompt=PROMPT, frames=9, width=64, height=32, guidance_low=2.0))
