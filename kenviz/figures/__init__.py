"""Arrays in, Bokeh figure out. No state, no callbacks, no widget.

Each module has a function that computes the columns of the figure's data sources, by source name, and one that
builds the figure from them. A view patches the same columns into a figure that is shown already.
"""
