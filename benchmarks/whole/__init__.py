"""The one table of `make benchmark`: what each thing takes, beside the plain way to do it and beside its floor.

machine     the computer, and what its memory and disk give
measuring   a process, or actions within one: wall and processor time, the most memory
lines       a line of the table, kept as it is measured, so that a run goes on where it was interrupted
models      pairs of random models
actions     what is measured within a process; peers: the plain way, as processes
*_rows      the lines, a group a file
words       a line of prose for each kind of row
page        the table as text, and as a part of docs/performance.md
"""
