"""A Bokeh figure as a widget of its own: it needs no `output_notebook`, and is changed from Python and in the page.

bokeh_pane, pane.js    the two halves
encoding               what goes over the wire; `events`: what the page reports
shipping, opening.js   the figure and BokehJS as they are sent ahead, for a kernel that is busy
saving.js              buttons for SVG, PNG and the table; `controls.js`: sliders and copy buttons beside a figure
page_colours.js        the paper and ink of the page
"""
