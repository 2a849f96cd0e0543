"""What has to hold on any device: the bits that land there are those that land on the CPU."""

import numpy as np
import torch

import ken
from ken.models.tensors.tensor_bytes import bits_of, fingerprint
from ken.subnetwork import ulp_distances, ulp_torch

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]


def random_bits(rng, size, dtype):
    """A tensor of any bits whatever."""
    raw = np.frombuffer(rng.bytes(size * dtype.itemsize), np.uint8).copy()
    return torch.from_numpy(raw.view(f"i{dtype.itemsize}")).view(dtype)


def random_step(rng, size, dtype, share):
    """A packed mask and any distances whatever, which cannot be written to, as those from a file."""
    mask = rng.random(size) < share
    distances = np.frombuffer(rng.bytes(int(mask.sum()) * dtype.itemsize), f"u{dtype.itemsize}")
    packed = np.packbits(mask)
    packed.setflags(write=False)
    return packed, distances


def same_as_the_loop(tensor, down, up, device="cpu"):
    """Whether torch moves a tensor on a device to the bits that the compiled loop gives, and back again."""
    before = bits_of(tensor).copy()
    want, moved = before.copy(), tensor.clone().to(device)
    ulp_distances.exchange(want, down, up)
    ulp_torch.exchange(moved, down, up)
    right = np.array_equal(bits_of(moved), want)
    ulp_torch.exchange(moved, up, down)
    back = np.array_equal(bits_of(moved), before) or (down is not None and up is not None)
    return right and back


class Model(torch.nn.Module):
    """Parameters of every dtype, one of them transposed, one under two names, one with no entries, and a buffer."""

    def __init__(self, seed, dtypes):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        for i, dtype in enumerate(dtypes):
            values = torch.randn(33, 21, generator=generator, dtype=torch.float64).to(dtype)
            self.register_parameter(f"p{i}", torch.nn.Parameter(values))
        self.transposed = torch.nn.Parameter(torch.randn(9, 13, generator=generator).t())
        self.tied = self.p0
        self.empty = torch.nn.Parameter(torch.zeros(0, 3))
        self.scale = torch.nn.Parameter(torch.randn((), generator=generator))
        self.frozen = torch.nn.Parameter(torch.randn(17, generator=generator), requires_grad=False)
        self.register_buffer("steps", torch.tensor(seed // 2))  # carried: another one in the second alone


def models(dtypes=FLOATS):
    """Pretrained, and two that are fine-tuned."""
    three = [Model(seed, dtypes) for seed in range(3)]
    for i, model in enumerate(three):
        model.p0.data[0, i : i + 3] = torch.tensor([-0.0, 0.0, 1e-45])
    return three


def pretrained_on(device, dtypes=FLOATS):
    """The pretrained model on a device."""
    live = models(dtypes)[0].to(device)
    live.tied = live.p0  # where a device has tensors of a class of its own, moving a module unties
    return live


def prints(model):
    """Fingerprints of all tensors by name."""
    return {name: fingerprint(tensor) for name, tensor in model.state_dict().items()}


def go_through(device, dtypes=FLOATS, between=lambda *nets: None):
    """Bring subnetworks into a model on a device, by every way, and out again; gives the steps that went wrong.

    between is called with two subnetworks that have both been there, before the one takes the place of the other and
    after it.
    """
    pretrained, one, two = models(dtypes)
    net_a = ken.prune(one, pretrained, 0.5, rule="random", progress=False)
    net_b = ken.prune(two, pretrained, 0.3, rule="update", progress=False)
    raw = ken.prune(two, pretrained, 0.3, rule="update", raw=True, progress=False)
    want = {net: prints(ken.inject(net, pretrained)) for net in (net_a, net_b, raw)}
    before = prints(pretrained)
    live, wrong = pretrained_on(device, dtypes), []
    parameters = dict(live.named_parameters())

    def expect(step, actual, wanted):
        if actual != wanted:
            wrong.append(f"{step}: {[name for name in wanted if actual.get(name) != wanted[name]]}")

    for net, kind in ((net_a, "inject"), (raw, "inject raw values")):
        new = ken.inject(net, live)
        expect(kind, prints(new), want[net])
        expect(
            f"{kind}: device", {str(tensor.device.type) for tensor in new.state_dict().values()}, {live.p0.device.type}
        )
        expect(f"{kind}: what was given", prints(live), before)
    with raw.injected(live):
        expect("injected raw values", prints(live), want[raw])
    expect("taken out", prints(live), before)
    net_a.inject_(live)
    expect("inject_", prints(live), want[net_a])
    ken.swap(live, current=net_a, to=net_b)
    expect("swap", prints(live), want[net_b])
    between(net_a, net_b)
    ken.swap(live, current=net_b, to=net_a)
    between(net_a, net_b)
    expect("swap back", prints(live), want[net_a])
    ken.swap(live, current=net_a, to=None)
    expect("swap out", prints(live), before)
    if any(live.get_parameter(name) is not old or old.grad_fn for name, old in parameters.items()):
        wrong.append("parameters are others, or have a graph")
    if live.transposed.is_contiguous() or live.tied is not live.p0:
        wrong.append("strides or ties are others")
    return wrong


def sizes(tensors):
    """Bytes of some subnetwork's masks and distances, as they are sent, with the zero before the distances."""
    return sum(t.bits.nbytes + t.ulps.nbytes + t.dtype.itemsize for t in tensors if isinstance(t, ken.RetainedTensor))
