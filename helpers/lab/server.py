"""What is different in the JupyterLab that `make lab` opens.

Support code. JupyterLab saves a notebook by itself every two minutes, and
draws pictures as they are on dark pages as well.
"""

from pathlib import Path

from jupyter_server.serverapp import ServerApp
from jupyter_server.services.contents.largefilemanager import (
    AsyncLargeFileManager,
)
from traitlets import default

SETTINGS = Path(__file__).resolve().parent / "settings"


class Contents(AsyncLargeFileManager):
    """Show what is in notebooks/ as read-only; the copies are in lessons/."""

    async def get(self, path, *arguments, **settings):
        """Return a file or folder as JupyterLab gets it."""
        model = await super().get(path, *arguments, **settings)
        if path.strip("/").startswith("notebooks/"):
            model["writable"] = False
        return model


class Server(ServerApp):
    """Serve the workbook's custom.css, and write to no original."""

    @default("static_custom_path")
    def _find_css(self):
        return [str(SETTINGS)]

    @default("contents_manager_class")
    def _choose_contents(self):
        return Contents
