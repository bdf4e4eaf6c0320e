import pytest
import torch

from kinema.errors import SpecError
from kinema.generate.device import choose_device, choose_dtype, cpu_has_bfloat16, dtype_name


def test_a_mistyped_dtype_is_answered_with_the_nearest():
    with pytest.raises(SpecError, match="bfloat16"):
        choose_dtype("bfloat", torch.device("cpu"))


def test_names_of_dtypes_are_read_and_written_alike():
    for name in ("float32", "bfloat16", "float16"):
        assert dtype_name(choose_dtype(name, torch.device("cpu"))) == name


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "xpu"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(SpecError, match="use"):
        choose_device(name)


def test_the_cpu_computes_in_what_it_has_in_hardware():
    wanted = torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    assert choose_dtype(None, choose_device("cpu")) == wanted
    flags = torch.cpu.get_capabilities()
    if flags["architecture"] == "x86_64":
        assert cpu_has_bfloat16() == (flags["avx512_bf16"] or flags["amx_tile"])
