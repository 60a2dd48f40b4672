"""Let JupyterLab open the originals of the lessons, and not write to them.

Support code, for `make lab`. It saves a notebook by itself every two minutes.
"""

from jupyter_server.services.contents.largefilemanager import (
    AsyncLargeFileManager,
)


class Contents(AsyncLargeFileManager):
    """Show what is in notebooks/ as read-only; the copies are in lessons/."""

    async def get(self, path, *arguments, **settings):
        """Return a file or folder as JupyterLab gets it."""
        model = await super().get(path, *arguments, **settings)
        if path.strip("/").startswith("notebooks/"):
            model["writable"] = False
        return model
