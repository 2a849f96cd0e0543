"""What views and the report need of a subnetwork and its pair, as arrays, tables and words.

study           both, opened once; what several views need, computed when it is needed; `opening`: what was given
quantities      what a matrix can be coloured by
row_decision    one row and what a rule decides about it; `tensor_parts`: rows, columns and heads of a tensor
row_density     the bars, the curve and the grid of a row, as every figure draws them
comparison      two subnetworks
sweep_data      the table of a sweep, read, checked and prepared
"""
