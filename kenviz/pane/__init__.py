"""A Bokeh figure as a widget of its own: it needs no `output_notebook`, and is changed from Python and in the page.

bokeh_pane, pane.js    the two halves
encoding               what goes over the wire; `events`: what the page reports
"""
