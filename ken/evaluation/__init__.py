"""What a subnetwork is worth: pruned with every k and rule, evaluated, compared.

sweep, smallest_k    the two questions; `runner` prunes, injects and evaluates, and keeps what is known
classification       accuracy and its errors; `encoding`: texts as batches
datasets             texts and labels, divided; `docstring_task`: those of the demonstration, kept in a `cache_entry`
trainer              fine-tuning
"""

from ken.evaluation.classification import Evaluation as Evaluation
from ken.evaluation.sweep import tabled as tabled
