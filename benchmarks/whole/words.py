"""A line of prose for each kind of row: what the peer does, what the floor counts, why the figure is what it is."""

WORDS = {
    "rule ken": """The peer is `torch.topk` of the same rows: it finds the k largest, and decides nothing else. The
floor is both tensors read, the retained distances and the mask written. The rule sorts the row,
sums its densities, visits k grid points, and lets each claim an entry, one after the other. Of a
row of 384 in float32 densities take about 0.6 topk, claims and what they need 0.5, sort and
bandwidth 0.15; the rest is what every rule pays. In bfloat16 many values are equal, so claims take
less.""",
    "rule update": """The same peer and floor. A selection (numpy's partition, in float64) in place of torch's sort;
what
it costs beyond is the mask, the distances and three fingerprints.""",
    "prune": """The peer is a process that reads both files with safetensors, takes `torch.topk` of the absolute
update of every row, writes these values into the pretrained tensors, and saves the dense result: no
checks, no fingerprints, nothing compressed. The floor is both files through memory (they are in the
page cache), and the subnetwork to the disk. Starting Python with torch is a part of both, loading
the compiled loops one of ours.""",
    "prune again": "The same without the start: what a notebook or a server pays. The floor is the same.",
    "prune large": """Larger than what a process should hold: some rows at a time are in memory. The floor counts the
files through memory and the subnetwork to the disk; from a cold disk add their bytes divided by its
speed above.""",
    "inject": """The peer reads a model that was stored whole, and writes it again, through safetensors. The floor is
the pretrained file and the subnetwork read, and the model written. We decode, add distances, and
check every fingerprint before and after.""",
    "verify": """The peer reads the pretrained file, and hashes its bytes. The floor is both files read. We hash
every tensor, and decode all of the subnetwork.""",
    "report": """There is no peer. The floor is both models and the subnetwork read. Most of it is counting
(neighbours, shares by row, column and head), and drawing each matrix: it goes by tensors.""",
    "explore": """There is no peer, and nothing of the models but their headers is read. What is left is building
tables and widgets: it goes by tensors.""",
    "help": """The peer is Python that does nothing. The rest is typer, rich and numpy; torch and numba are not
loaded.""",
    "empty": """The peer is the same process where caches are filled. The difference is numba, which compiles the
loops once for each environment, and transformers, which is asked once what class the folder is of.""",
    "first": """The peer is the second call in the same process; torch has been imported before. The difference is
the load of the compiled loops, and the libraries that a first call needs besides torch.""",
    "tensors": """The peer is the same entries as one matrix, by the same code. The floor is both files through
memory, and the subnetwork to the disk.""",
    "tensor": """The difference of the two rows before, divided by the tensors: reading, deciding, hashing,
compressing and recording are some hundred small calls of numpy, torch, zstandard and pydantic for
each.""",
    "reading": "Every stretch of both files, from the page cache into a buffer; the floor is that through memory.",
    "deciding": "Rows to float64, and the rule `ken`; the rows at the top say what that takes.",
    "encoding": "Distances of retained entries, their byte planes, zstandard; masks.",
    "hashing": """Three fingerprints: of the fine-tuned tensor, of the pretrained one, and of what injection will
give, which is made for it. The floor is these bytes through memory.""",
    "writing": "The bytes of the subnetwork to the disk, until it says that they are there; the floor is its speed.",
    "together": """On one core the peer is the sum of the parts alone; on two it is one core. Reading, deciding and
taking out distances run in threads, a stretch each; compressing, hashing and writing follow in
order, in one thread.""",
}
WORDS = {kind: " ".join(text.split()) for kind, text in WORDS.items()}
