"""A vision-language model of a few thousand random weights: what it says means nothing, how it is asked does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from kinema.data import DataRecipe, Store, run_recipe
from kinema.data.caption import CaptionConfig
from kinema.data.caption_model import CaptionModel, model_stamp
from kinema.data.captioner import LocalCaptioner
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.data.split import SplitConfig
from kinema.errors import DataError

SIDE, PATCH = 16, 8
SPECIAL = ("<pad>", "<eos>", "<unk>", "<image>")
WORDS = ("user", "what", "the", "camera", "is", "pan", "left", "static", "ball", "rolls", "over", "grass")
TEMPLATE = (
    "{% for message in messages %}user {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}{% endfor %}{% endfor %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose pictures are four tokens each."""
    names = {name: index for index, name in enumerate((*SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        extra_special_tokens=["<image>"],
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )  # fmt: skip
    torch.manual_seed(0)
    network = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE,
                patch_size=PATCH,
            ),
            text_config=LlamaConfig(
                vocab_size=len(names), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
                num_attention_heads=2, num_key_value_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=1,
            ),
            image_token_index=names["<image>"], vision_feature_layer=-1,
        )
    )  # fmt: skip
    with torch.no_grad():
        network.lm_head.weight.mul_(40.0)  # so that no two words are nearly as likely
        network.lm_head.weight[: len(SPECIAL)].zero_()  # and it speaks words
    path = tmp_path_factory.mktemp("model")
    network.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def pictures(seed: int, count: int) -> list[np.ndarray]:
    noise = np.random.default_rng(seed).integers(0, 256, (count, 2, 3, 3), dtype=np.uint8)
    return [each.repeat(12, axis=0).repeat(12, axis=1) for each in noise]


def test_a_batch_gives_each_question_the_answer_that_it_has_alone(folder: Path) -> None:
    model = CaptionModel(str(folder), max_tokens=6)
    questions = [("what is the ball", pictures(1, 1)), ("the camera is static what rolls over", pictures(2, 3))]
    together = model.ask(questions)
    assert together == [model.ask([question])[0] for question in questions]
    assert [each.tokens_in for each in together] == [1 + 4 + 4, 1 + 3 * 4 + 7]
    assert all(each.tokens_out == 6 and set(each.text.split()) <= set(WORDS) for each in together)
    assert model.ask([("what is the ball", pictures(3, 1))]) != together[:1]


def test_a_folder_that_holds_no_such_model_is_named_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"caption\.model=.* cannot be loaded .* or set caption\.endpoint"):
        CaptionModel(str(tmp_path))
    for path in folder.glob("*"):
        if path.name != "chat_template.jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="has no chat template"):
        CaptionModel(str(tmp_path))
    assert model_stamp(str(tmp_path)) != model_stamp(str(folder))


def test_clips_without_words_beside_them_are_asked_about_with_what_was_measured(
    folder: Path, footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("two shots.mp4", "it's one.mp4"):
        (tmp_path / "videos" / name).write_bytes((footage / name).read_bytes())
    (tmp_path / "videos" / "it's one.txt").write_text("people wrote this")
    prompt = tmp_path / "mine.md"
    prompt.write_text("what is the ball the camera is {camera}")
    config = CaptionConfig(model=str(folder), prompts=(str(prompt), "short"), pictures=2, max_tokens=4)
    recipe = DataRecipe(
        sources=(Source(path=str(tmp_path / "videos")),), out=tmp_path / "set", split=SplitConfig(min_s=0.5),
        limits=Limits(workers=0), caption=config,
    )  # fmt: skip
    asked: list[str] = []
    ask = CaptionModel.ask
    monkeypatch.setattr(
        CaptionModel, "ask", lambda self, questions: asked.extend(text for text, _ in questions) or ask(self, questions)
    )
    stages = ("ingest", "split", "filter", "dedup", "caption")
    result = run_recipe(recipe, stages)[-1]
    clips = Store(recipe.out).read("clips")
    assert (result.done, result.failed) == (3, 0)
    assert sorted(clip["caption_source"] for clip in clips) == sorted([str(folder), str(folder), "sidecar"])
    assert all(len(clip["captions"]) == 2 for clip in clips if clip["caption_source"] != "sidecar")
    assert len(asked) == 4
    assert all(text == "what is the ball the camera is pan right" for text in asked[:2])
    monkeypatch.setattr(LocalCaptioner, "__init__", None)
    assert run_recipe(recipe, stages)[-1].kept == 3, "nothing changed, so no model is loaded"
