"""Why entries were retained or reset.

explain            a row, or a tensor of a subnetwork, step by step
row_explanation    what is known of a row then: claims, tables, the card of an entry
stability          what another bandwidth would have decided
"""
