"""A subnetwork as a file (FORMAT.md), and everything else that is written: whole or not at all, never over an input.

schema, records      what the JSON of a file may say; from and to objects
reader, writer       the file; tensors are decoded when they are asked for (`lazy_tensors`)
mask_codec …         masks, values (`value_codec`, `spools`) and other files (`model_files`) as bytes, with `zstd_codec`
hub_subnetworks      which file of a repository is meant; `hub_upload` puts one there
model_card           what is said of it there, with `card_results` and `card_text`
info                 what a file holds, in words
result_lines         the lines of another file, that of `ken.results`
shared_places        a subnetwork by where it lies, for workers that open it themselves
outputs              refuses to write over what is read; `file_kinds`: what a file holds
atomic_files         written under another name, synced, renamed; `uploads`, `url_outputs`: the same behind URLs
"""

from ken.storage.atomic_files import replacing as replacing
from ken.storage.atomic_files import write_text as write_text
from ken.storage.atomic_files import write_texts as write_texts
from ken.storage.file_kinds import CSV as CSV
from ken.storage.file_kinds import PAGE as PAGE
from ken.storage.file_kinds import PNG as PNG
from ken.storage.file_kinds import REPORT_DATA as REPORT_DATA
from ken.storage.file_kinds import SVG as SVG
from ken.storage.lazy_tensors import file_of as file_of
from ken.storage.outputs import check_outputs as check_outputs
from ken.storage.outputs import models_of as models_of
from ken.storage.uploads import target as target
