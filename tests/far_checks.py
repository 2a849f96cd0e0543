"""Run as a program: what the pretend device of `far_device` was asked for, as JSON. A warning is an error."""

import json
import sys
import warnings

import numpy as np
from device_laws import (
    FLOAT8,
    FLOATS,
    go_through,
    models,
    pretrained_on,
    prints,
    random_bits,
    random_step,
    same_as_the_loop,
    sizes,
)
from far_device import JOURNAL, Far

import ken
from ken.subnetwork import ulp_torch


def every_dtype():
    """The dtypes that the device moves to other bits than the CPU."""
    rng = np.random.default_rng(0)
    wrong = []
    for dtype in FLOATS + FLOAT8:
        tensor, steps = random_bits(rng, 1000, dtype), [random_step(rng, 1000, dtype, share=0.5) for _ in range(2)]
        if not same_as_the_loop(tensor, *steps, device="far") or not ulp_torch.serves(Far(tensor)):
            wrong.append(str(dtype))
    return wrong


def traffic():
    """What one swap sends and fetches, and in which order it waits and works."""
    seen = {}

    def between(*nets):
        seen.update(calls=JOURNAL.calls, sent=JOURNAL.sent, fetched=JOURNAL.fetched)
        seen.update({"masks and distances": sum(sizes(net.values()) for net in nets), "tensors": len(nets[0])})
        JOURNAL.clear()

    wrong = go_through("far", between=between)
    model = {id(tensor): tensor.nbytes for tensor in pretrained_on("far").state_dict(keep_vars=True).values()}
    return seen | {"wrong": wrong, "model": sum(model.values())}


def new_model():
    """What `ken.inject` sends for tensors of one dtype, and what it would send for tensors that the CPU has made."""
    pretrained, one, _ = models()
    net = ken.prune(one, pretrained, 0.1, rule="random", progress=False)
    live = pretrained_on("far")
    ken.inject(net, live)
    JOURNAL.clear()
    ken.inject(net, live)
    return {"sent": JOURNAL.sent, "masks and distances": sizes(net.values()), "tensors": len(net)}


def interrupted():
    """Swaps in which an operation of the device fails, and those after which the model was another."""
    ulp_torch.PIECE = 64  # so that tensors are left half-way
    pretrained, one, two = models()
    net_a, net_b = (ken.prune(model, pretrained, 0.5, rule="random", progress=False) for model in (one, two))
    live = pretrained_on("far")
    net_a.inject_(live)
    ken.swap(live, current=net_a, to=net_b)
    ken.swap(live, current=net_b, to=net_a)
    before, failed, others = prints(live), 0, []
    for operation in ("cumsum", "index_select", "copy_", "__rshift__"):
        for fail_at in (0, 3, 7):
            JOURNAL.clear()
            JOURNAL.failing, JOURNAL.fail_at = operation, fail_at
            try:
                ken.swap(live, current=net_a, to=net_b)
            except RuntimeError as error:
                failed += "the device has no" in str(error)
            JOURNAL.clear()
            if prints(live) != before:
                others.append(f"{operation} {fail_at}")
    ulp_torch.PIECE = PIECE
    return {"failed": failed, "others": others}


def unable():
    """What is warned of, and what goes wrong, if the device lacks an operation."""
    ulp_torch._able.cache_clear()
    JOURNAL.clear()
    JOURNAL.failing, JOURNAL.fail_at = "cumsum", None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrong = go_through("far")
    JOURNAL.clear()
    ulp_torch._able.cache_clear()
    return {"wrong": wrong, "warnings": sorted(str(warning.message) for warning in caught)}


PIECE = ulp_torch.PIECE
warnings.simplefilter("error")
json.dump({check.__name__: check() for check in (every_dtype, traffic, new_model, interrupted, unable)}, sys.stdout)
