"""The words of a report."""

from __future__ import annotations

#: Each term and what it means here.
GLOSSARY: tuple[tuple[str, str], ...] = (
    ("pretrained, fine-tuned", "The model that training began with, and the one it ended with."),
    ("update", "What fine-tuning changed: the fine-tuned value less the pretrained one."),
    ("entry", "One number of a tensor: a single weight."),
    ("row", "The unit of the rule: a run of entries along the last axis of a tensor. A vector is one row."),
    ("k", "How many entries of each row are retained; the rule “changed” has none."),
    ("retained", "The entry keeps its fine-tuned value, bit for bit, unless updates are rescaled."),
    ("rescaled", "The update of each retained entry is divided by the share retained, to make up for what is reset."),
    ("reset", "The entry gets back its pretrained value."),
    ("mask", "Which entries are retained and which are reset."),
    ("subnetwork", "All retained entries and carried tensors, and where they came from."),
    ("carried", "A tensor that goes into the subnetwork whole, such as a new head or an integer buffer."),
    ("tied", "A second name of a tensor that is there already; it counts once."),
    ("inject", "To write a subnetwork into the pretrained model."),
    ("rule", "A way of choosing which entries of a row are retained."),
    ("density, bandwidth", "The kernel density estimate of a row’s values, and how far each value is smoothed."),
    (
        "weights, update, pretrained",
        "The values that a rule’s density is of: fine-tuned, update, or pretrained.",
    ),
    ("grid point, claim", "The rule “ken” lays k even points over a row; each takes the nearest entry that is left."),
    ("energy of the update", "The sum of the squares of the update: large changes count more than many small ones."),
    ("RMS of the update", "The root of the mean of the squares of the update, in units of the weights."),
    ("tails", "Entries more than two standard deviations away from the mean of their row."),
    ("standard error", "By how much a measured number would vary over other evaluation items of the same kind."),
    ("quantile", "A row at the 5 % quantile has a larger update than 5 % of the rows of its matrix."),
    ("fingerprint", "A checksum over all tensors of a model: two models with the same one are the same."),
)
