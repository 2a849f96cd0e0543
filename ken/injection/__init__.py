"""A subnetwork back in a model, or what is left of one without it.

inject      a new model, or state dict; `copies` of modules, with `stand_ins` and sizes that fit (`fitting`)
swap        in a live model, in place: planned first (`planned_changes`), then carried out (`changes`)
export      a checkpoint folder, as `export_layout` lays it out, here or `export_by_workers` of an executor
shira       an adapter of sparse differences, layer by layer (`shira_layers`)
patches     indices and values, for servers that update a running model
verify      a trial
"""
