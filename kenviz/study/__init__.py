"""What views and the report need of a subnetwork and its pair, as arrays, tables and words.

study           both, opened once; what several views need, computed when it is needed
quantities      what a matrix can be coloured by
row_decision    one row and what a rule decides about it; `tensor_parts`: rows, columns and heads of a tensor
comparison      two subnetworks; `neighbour_chance`: what chance would give
sweep_data      the table of a sweep, checked and prepared
"""
