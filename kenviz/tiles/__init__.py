"""A matrix at any zoom: what some hundred tiles show of millions of entries.

pyramid           which tiles cover a part of a matrix, and what is read for them
tiles             what tiles show, whatever it is, and the sums that they are made of
mask_tiles        shares of retained entries, `sampled`: by some rows; `value_tiles`: means of a quantity
neighbour_tiles   retained neighbours; `overlap_tiles`: two masks
"""
