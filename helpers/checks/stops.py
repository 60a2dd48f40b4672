"""Say in a copy's first cell where Run All Cells stopped, with a link there.

Support code, for show_progress: the page stays at its top, and the cell that
failed may be far below.
"""

import html

from helpers.checks.cells import one_line
from helpers.checks.verdicts import notebook

PLACE = "where-it-stopped"  # of the display in the first cell
LINK = 'Stopped at <a href="{name}.ipynb#cell-id={cell}">this cell</a>: {said}'


def watch(name):
    """Show, from now on, the last cell that failed in the copy of a lesson.

    Calls from outside a notebook do nothing.
    """
    shell = notebook()
    if not shell:
        return
    watcher = Watcher(name)
    for other in list(shell.events.callbacks["post_run_cell"]):
        if isinstance(getattr(other, "__self__", None), Watcher):
            shell.events.unregister("post_run_cell", other)
    shell.events.register("post_run_cell", watcher.look)
    watcher.show("", update=False)


class Watcher:
    """Know which cell failed last; it is forgotten when it runs."""

    def __init__(self, name):
        self.name, self.failed = name, None

    def look(self, result):
        """Show where a cell failed that has just run, or that it runs now."""
        cell, error = result.info.cell_id, result.error_in_exec
        if error is not None and cell:
            said = html.escape(one_line(error))
            link = LINK.format(name=self.name, cell=cell, said=said)
            self.failed = cell
            self.show(link)
        elif cell == self.failed is not None:
            self.failed = None
            self.show("")

    def show(self, text, update=True):
        """Put a line of HTML into the first cell."""
        from IPython.display import HTML, display

        display(HTML(text), display_id=PLACE, update=update)
