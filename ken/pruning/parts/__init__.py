"""Pruning in parts: a plan from headers alone, a file for each part, made anywhere and joined into one subnetwork.

packing       which stretches of which tensors a part has: balanced by bytes, from shapes alone
description   both models and the recipe as plain data, for other processes
stamps        what the files of a model are known by, so that a change between two parts shows
planned_parts the plan itself
running       one part: `ken.run_part`
part_plan     the plan as it is asked for: `ken.parts`
folder        what lies in a folder of parts
split_tensors a tensor of several parts, joined
joining       all parts into the file that one machine would have written: `ken.join`
cleaning      what interrupted work has left: `ken.clean`
"""
