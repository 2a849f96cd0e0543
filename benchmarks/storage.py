"""How large a subnetwork file is beside other ways to store the same, and how long it takes to use it, in one run.

Usage: python benchmarks/storage.py [--repeats N]

Sizes, for the MiniLM pair of the demo at three shares: the dense model; the retained values as they are and one bit for
every entry; the file; a pickled dict of positions and values, which is what the published code would have written; and
the same values by ZipNN, as they are and as XOR with the pretrained ones, with the bits of the mask.

Times, at a share of 0.5: load and inject, with every check, beside its floor (the pretrained bytes hashed, the blobs
decoded, the model copied, each measured alone); swap beside load_state_dict of a dense state dict in memory.
"""

import argparse
import pickle
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from zipnn import ZipNN

import ken
from ken.models.tensors.tensor_bytes import fingerprint
from ken.subnetwork.threads import each, threads


def bits(tensor):
    return tensor.detach().reshape(-1).numpy().view(np.uint32)


def stored(net, pairing):
    """Values of the retained entries, as they are and as XOR with the pretrained ones, and positions, by name."""
    for name, tensor in net.pruned().items():
        mask = tensor.mask().reshape(-1)
        fine_tuned = bits(pairing.fine_tuned.tensors[name])[mask]
        yield (
            name,
            fine_tuned,
            fine_tuned ^ bits(pairing.pretrained.tensors[pairing.names[name]])[mask],
            np.flatnonzero(mask),
        )


def zipnn(values):
    return len(ZipNN(bytearray_dtype="float32", input_format="byte").compress(bytearray(values.tobytes())))


def sizes(pair, folder):
    pairing = ken.open_pair(pair.fine_tuned, pair.pretrained)
    print("MB (10^6 bytes); limit: file / (raw values + a bit an entry) ≤ 0.55\n")
    columns = [
        "share",
        "dense",
        "raw",
        "file",
        "file/raw",
        "pickle 64",
        "pickle 32",
        "ZipNN",
        "ZipNN xor",
        "masks",
        "values",
    ]
    print("".join(f"{column:>10}" for column in columns))
    for share in (0.75, 0.5, 0.25):
        net = ken.prune(pair.fine_tuned, pair.pretrained, share, progress=False)
        path = net.save(folder / f"{share}.ken.safetensors")
        dense = sum(4 * outline.entries for outline in net.outlines.values())
        raw = sum(4 * outline.retained for outline in net.outlines.values()) + net.entries / 8
        parts = list(stored(net, pairing))
        pickles = [
            len(pickle.dumps({name: (at.astype(kind), values) for name, values, _, at in parts}, protocol=5))
            for kind in (np.int64, np.int32)
        ]
        whole = [np.concatenate([part[i] for part in parts]) for i in (1, 2)]
        others = [zipnn(values) + net.entries / 8 for values in whole]
        from ken.storage.info import describe

        info = describe(path)
        row = [dense, raw, path.stat().st_size, None, *pickles, *others, info["size_masks"], info["size_values"]]
        cells = [f"{path.stat().st_size / raw:.3f}" if size is None else f"{size / 1e6:.1f}" for size in row]
        print(f"{share:>10}" + "".join(f"{cell:>10}" for cell in cells))


def clock(run, repeats):
    """Median of several runs, in milliseconds, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def speed(pair, folder, repeats):
    pretrained = pair.pretrained
    paths = [
        ken.prune(pair.fine_tuned, pretrained, 0.5, rule=rule, progress=False).save(folder / rule)
        for rule in ("ken", "random")
    ]
    one, two = map(ken.load, paths)
    state = pretrained.state_dict()
    floor = {
        "hash the pretrained bytes": clock(lambda: each(fingerprint, state.values()), repeats),
        "decode the blobs": clock(
            lambda: each(lambda name: (one.pruned()[name].bits, one.pruned()[name].ulps), one.pruned()), repeats
        ),
        "copy the model": clock(lambda: {name: tensor.clone() for name, tensor in state.items()}, repeats),
    }
    whole = clock(lambda: ken.inject(ken.load(paths[0]), pretrained), repeats)
    print(f"\nms, median of {repeats}, {threads()} threads; share 0.5")
    for what, ms in floor.items():
        print(f"{what:32}{ms:8.1f}")
    print(f"{'floor: the sum':32}{sum(floor.values()):8.1f}")
    print(
        f"{'load + inject, all verified':32}{whole:8.1f}   {whole / sum(floor.values()):.2f} times the floor (limit 2)"
    )

    model = ken.inject(one, pretrained)
    dense = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ken.swap(model, current=one, to=two)
    ken.swap(model, current=two, to=one)
    copy = clock(lambda: model.load_state_dict(dense), repeats)

    def both():
        ken.swap(model, current=one, to=two)
        ken.swap(model, current=two, to=one)

    swap = clock(both, repeats) / 2
    assert all(torch.equal(tensor, dense[name]) for name, tensor in model.state_dict().items())
    print(f"{'load_state_dict, dense':32}{copy:8.1f}")
    print(f"{'swap, all verified':32}{swap:8.1f}   {swap / copy:.2f} times load_state_dict (limit 3)")
    print(f"{'open the file':32}{clock(lambda: ken.load(paths[0]), repeats):8.1f}")
    print(f"{'save':32}{clock(lambda: one.save(folder / 'again'), repeats):8.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    demo = ken.demo.pair()
    with tempfile.TemporaryDirectory() as place:
        sizes(demo, Path(place))
        speed(demo, Path(place), args.repeats)
