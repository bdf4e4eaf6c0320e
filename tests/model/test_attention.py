import pytest
import torch

from kinema.errors import SpecError
from kinema.model import PRESETS, DiT
from kinema.model.attention import KERNELS, _attend_by_products, attend, choose_attention

CPU = torch.device("cpu")


@pytest.mark.parametrize("biased", [False, True])
def test_products_agree_with_the_fused_kernel(biased):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 5, 3, 8), torch.randn(2, 7, 3, 8), torch.randn(2, 7, 3, 8)
    bias = torch.randn(1, 3, 5, 7) if biased else None
    fused = attend(query, key, value, bias=bias)
    torch.testing.assert_close(_attend_by_products(query, key, value, 8**-0.5, bias), fused, rtol=0, atol=1e-5)
    rounded = attend(*(x.bfloat16() for x in (query, key, value)), bias=None if bias is None else bias.bfloat16())
    torch.testing.assert_close(rounded.float(), fused, rtol=0, atol=0.05)


@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_products_are_taken_where_the_fused_kernel_has_none(monkeypatch, tiles, learns):
    taken = []
    monkeypatch.setattr("kinema.model.attention.has_tiles", lambda: tiles)
    monkeypatch.setattr("kinema.model.attention._attend_by_products", lambda query, *_: taken.append(1) or query)
    tokens = torch.randn(1, 4, 2, 16, dtype=torch.bfloat16)
    with torch.set_grad_enabled(learns):
        attend(tokens, tokens, tokens)
        assert bool(taken) == (learns or not tiles)
        taken.clear()
        attend(*3 * [tokens.float()])
        assert not taken


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("biased", [False, True])
def test_a_key_that_counts_often_is_one_that_stands_there_often(dtype, atol, biased):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, tokens, 3, 16) for tokens in (5, 7, 7))
    bias = torch.randn(1, 3, 5, 7) if biased else None
    wide = [torch.cat([x, x[:, -1:].expand(-1, 8, -1, -1)], dim=1) for x in (key, value)]
    longer = None if bias is None else torch.cat([bias, bias[..., -1:].expand(-1, -1, -1, 8)], dim=-1)
    expected = attend(query, *wide, bias=longer)
    often = attend(
        *(x.to(dtype) for x in (query, key, value)), bias=None if bias is None else bias.to(dtype), repeats=9
    )
    torch.testing.assert_close(often.float(), expected, rtol=0, atol=atol)
    assert not torch.allclose(attend(query, key, value, bias=bias), expected, atol=0.01)


def test_a_scale_of_its_own_replaces_the_usual_one():
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 4, 1, 16) for _ in range(3))
    expected = torch.softmax(query[0, :, 0] @ key[0, :, 0].T, dim=-1) @ value[0, :, 0]
    torch.testing.assert_close(attend(query, key, value, scale=1.0)[0, :, 0], expected)


@pytest.mark.parametrize("name", ["flash", "math", "products"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_what_runs_on_a_cpu_agrees(name, dtype, atol):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, tokens, 3, 16) for tokens in (5, 7, 7))
    expected = attend(query, key, value)
    mix = choose_attention(name, CPU, dtype, 16)
    mixed = mix(*(x.to(dtype) for x in (query, key, value)))
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed.float(), expected, rtol=0, atol=atol)


def test_a_transformer_computes_by_what_was_chosen():
    torch.manual_seed(0)
    dit = DiT(PRESETS["tiny"].dit).eval()
    torch.nn.init.normal_(dit.proj_out.weight, std=0.1)
    latent, times, text = torch.randn(1, 4, 2, 4, 4), torch.ones(1, 2), torch.randn(1, 3, 32)
    with torch.inference_mode():
        expected = dit(latent, times, text)
        calls = []

        def counted(*inputs, **named):
            calls.append(inputs)
            return choose_attention("math", CPU, torch.float32, 16)(*inputs, **named)

        dit.attend_by(counted)
        torch.testing.assert_close(dit(latent, times, text), expected, rtol=0, atol=1e-5)
    assert len(calls) == 2 * 2  # two blocks, each onto the video and onto the text


def test_what_cannot_be_had_here_is_answered_with_what_can():
    with pytest.raises(SpecError, match=r"unknown attention 'flsh'; did you mean 'flash'\?.*auto.*sage"):
        choose_attention("flsh", CPU, torch.float32, 16)
    fits = "use auto or flash or math or products"
    with pytest.raises(SpecError, match=rf"cudnn does not run here, on cpu in float32 \(.+\); {fits}$"):
        choose_attention("cudnn", CPU, torch.float32, 16)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(KERNELS, "sage", KERNELS["flash2"])
    with pytest.raises(SpecError, match=r"sage does not run here.*flash_attn.*use auto"):
        choose_attention("sage", CPU, torch.bfloat16, 64)
