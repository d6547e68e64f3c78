"""From the words of `--gpu` to a placement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing import (
    Gpu,
    GpuAmbiguous,
    GpuChoiceInvalid,
    GpuDuplicate,
    GpuNotFound,
    GpuPartitioned,
    GpuTooSmall,
    estimate_vram_bytes,
    gpu_queue,
    place,
    short_name,
)

GB = 1_000_000_000
FIRST = "GPU-5fd4f087-86f3-4a7c-9c3e-0123456789ab"
SECOND = "GPU-5fd4aaaa-0000-4000-8000-ba9876543210"
PARENT = "GPU-c0ffee00-0000-4000-8000-000000000002"
PART = "MIG-11111111-2222-5333-8444-555555555555"
OTHER_PART = "MIG-99999999-2222-5333-8444-555555555555"


def gpu(index: int, uuid: str, *, free: int | None = 24 * GB, total: int | None = 25 * GB) -> Gpu:
    """A whole GPU."""
    return Gpu(index=index, uuid=uuid, name="RTX", total_bytes=total, free_bytes=free)


def part(number: int, uuid: str) -> Gpu:
    """A MIG device of the third GPU."""
    return Gpu(
        index=2,
        uuid=uuid,
        name="MIG 1g.10gb",
        total_bytes=10 * GB,
        free_bytes=10 * GB,
        parent=PARENT,
        mig_index=number,
    )


MACHINE = (
    gpu(0, FIRST),
    gpu(1, SECOND),
    Gpu(
        index=2,
        uuid=PARENT,
        name="H100",
        total_bytes=80 * GB,
        free_bytes=80 * GB,
        mig_enabled=True,
    ),
    part(0, PART),
    part(1, OTHER_PART),
)


@pytest.mark.parametrize("word", ["0", "00", FIRST, "GPU-5fd4f087", "gpu-5FD4F", f" {FIRST} "])
def test_a_gpu_is_found_by_index_uuid_or_its_beginning(word: str) -> None:
    """However it is named, the process is pinned to the full UUID."""
    placement = place(word, inventory=MACHINE)
    assert placement.uuids == (FIRST,)
    assert placement.indexes == (0,)
    assert placement.short_names == ("GPU-5fd4f087",)
    assert placement.host_names == ("0",)
    assert placement.tensor_parallel == 1
    assert placement.environment() == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": FIRST,
    }


def test_several_gpus_are_one_placement_in_the_order_given() -> None:
    """Tensor parallel: the first one named is rank 0."""
    placement = place("1,0", inventory=MACHINE)
    assert placement.uuids == (SECOND, FIRST)
    assert placement.cuda_visible_devices == f"{SECOND},{FIRST}"
    assert placement.tensor_parallel == 2


def test_a_mig_device_is_found_by_its_uuid() -> None:
    """It has its parent's index and a name of its own."""
    placement = place(PART, inventory=MACHINE)
    assert placement.uuids == (PART,)
    assert placement.indexes == (2,)
    assert placement.host_names == ("2-mig0",)
    assert placement.short_names == ("MIG-11111111",)


@pytest.mark.parametrize(
    "choice", ["", " ", "0,", "0,,1", "cuda:0", "all", "-1", "0;1", "GPU-", "99999"]
)
def test_words_that_name_no_gpu_anywhere_are_refused(choice: str) -> None:
    """The error shows how GPUs are named."""
    with pytest.raises(GpuChoiceInvalid) as caught:
        place(choice, inventory=MACHINE)
    assert caught.value.code == "GPU_CHOICE_INVALID"
    assert "--gpu 0" in caught.value.suggested_action


@pytest.mark.parametrize("word", ["3", "GPU-ffff", "MIG-5fd4"])
def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(word: str) -> None:
    """It is never another GPU, and never the CPU."""
    with pytest.raises(GpuNotFound) as caught:
        place(word, inventory=MACHINE)
    assert caught.value.code == "GPU_NOT_FOUND"
    assert caught.value.exit_code == 1
    assert f"0 = {FIRST} (RTX, 25.00 GB)" in caught.value.message
    assert [each["uuid"] for each in caught.value.details["available"]] == [
        each.uuid for each in MACHINE
    ]


def test_a_machine_without_gpus_names_the_explicit_way_to_the_cpu() -> None:
    """The user decides for the CPU; nothing falls back to it."""
    with pytest.raises(GpuNotFound, match="which has none") as caught:
        place("0", inventory=())
    assert "--device cpu" in caught.value.suggested_action


def test_the_beginning_of_two_uuids_is_ambiguous() -> None:
    """Both are named."""
    with pytest.raises(GpuAmbiguous) as caught:
        place("GPU-5fd4", inventory=MACHINE)
    assert caught.value.details["matches"] == [FIRST, SECOND]


@pytest.mark.parametrize("choice", ["0,0", f"0,{FIRST}", "1,0,GPU-5fd4f087"])
def test_a_gpu_named_twice_is_refused(choice: str) -> None:
    """Also under two different names."""
    with pytest.raises(GpuDuplicate) as caught:
        place(choice, inventory=MACHINE)
    assert caught.value.details == {"gpu": FIRST}


@pytest.mark.parametrize("word", ["2", PARENT])
def test_a_gpu_split_into_mig_devices_is_refused_whole(word: str) -> None:
    """CUDA would quietly take its first part; the parts are listed instead."""
    with pytest.raises(GpuPartitioned) as caught:
        place(word, inventory=MACHINE)
    assert caught.value.details["mig_devices"] == [PART, OTHER_PART]


@pytest.mark.parametrize("choice", [f"{PART},{OTHER_PART}", f"0,{PART}"])
def test_mig_devices_cannot_be_joined(choice: str) -> None:
    """CUDA shows a process one MIG device only."""
    with pytest.raises(GpuChoiceInvalid, match="cannot be joined"):
        place(choice, inventory=MACHINE)


def test_a_gpu_too_small_for_the_model_is_refused_with_the_figures() -> None:
    """Weights and a fifth, and 1 GB to stay free: 25 GB for a model of 20 GB."""
    with pytest.raises(GpuTooSmall) as caught:
        place("0", inventory=MACHINE, model_bytes=20 * GB)
    error = caught.value
    assert (error.code, error.exit_code, error.http_status) == ("GPU_VRAM_EXHAUSTED", 1, 507)
    assert "24.00 GB free of 25.00 GB, and 25.00 GB are required" in error.message
    assert error.details["required_bytes"] == 25 * GB
    assert error.details["available_bytes"] == 24 * GB
    assert "nvidia-smi" in error.suggested_action


def test_a_gpu_that_would_be_too_small_when_empty_calls_for_a_larger_one() -> None:
    """Ending other programs would not help there."""
    with pytest.raises(GpuTooSmall) as caught:
        place("0", inventory=MACHINE, model_bytes=200 * GB)
    assert "larger GPU" in caught.value.suggested_action


def test_a_model_that_fits_exactly_is_placed() -> None:
    """25 GB free hold a model of 20 GB, its fifth, and the gigabyte that stays free."""
    fitting = gpu(0, FIRST, free=estimate_vram_bytes(20 * GB) + GB)
    assert place("0", inventory=[fitting], model_bytes=20 * GB).uuids == (FIRST,)


def test_a_group_shares_the_model() -> None:
    """Each GPU needs room for its part."""
    assert place("0,1", inventory=MACHINE, model_bytes=38 * GB).tensor_parallel == 2
    with pytest.raises(GpuTooSmall):
        place("0,1", inventory=MACHINE, model_bytes=39 * GB)


def test_unknown_memory_refuses_nothing() -> None:
    """Some drivers do not tell it; the engine finds out when it loads."""
    silent = gpu(0, FIRST, free=None, total=None)
    assert place("0", inventory=[silent], model_bytes=500 * GB).uuids == (FIRST,)


def test_the_old_form_of_mig_uuids_has_a_name_that_queues_take() -> None:
    """Its slashes become hyphens."""
    old = Gpu(
        index=0,
        uuid="MIG-GPU-5fd4f087-86f3-4a7c-9c3e-0123456789ab/1/0",
        name="MIG",
        total_bytes=None,
        free_bytes=None,
        parent=FIRST,
        mig_index=0,
    )
    twin = Gpu(
        index=0,
        uuid="MIG-GPU-5fd4f087-86f3-4a7c-9c3e-0123456789ab/2/0",
        name="MIG",
        total_bytes=None,
        free_bytes=None,
        parent=FIRST,
        mig_index=1,
    )
    placement = place(old.uuid, inventory=[old, twin])
    assert placement.cuda_visible_devices == old.uuid
    assert placement.short_names == ("MIG-GPU-5fd4f087-86f3-4a7c-9c3e-0123456789ab-1",)
    assert gpu_queue("hive-1", placement.short_names).endswith("-1")


@given(st.lists(st.uuids(), min_size=1, max_size=8, unique=True))
def test_every_short_name_finds_its_own_gpu(uuids: list[object]) -> None:
    """A short name is a word that `--gpu` takes, and means one GPU of the machine."""
    machine = [gpu(index, f"GPU-{uuid}") for index, uuid in enumerate(uuids)]
    for each in machine:
        assert place(short_name(each, machine), inventory=machine).uuids == (each.uuid,)


@given(st.integers(min_value=0, max_value=10**13))
def test_the_estimate_is_the_size_and_a_fifth_rounded_up(size: int) -> None:
    """In integers: a float would be off by some bytes at this size."""
    estimate = estimate_vram_bytes(size)
    assert 10 * (estimate - 1) < 12 * size <= 10 * estimate
