"""Serve the panel of lesson 07 as a page of its own.

    python -m helpers.panel [options of voila, such as --port=8899]

Support code, for `make panel`. Every visit has a kernel; it ends when the
reader goes elsewhere, or about a minute after the page was closed.
"""

from pathlib import Path

from traitlets.config import Config
from voila.app import Voila

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "panel.ipynb"
LOCAL = ("localhost", "127.0.0.1", "::1")
ONLY_HERE = "Only this machine can open the page; Ctrl-C ends it."
ANYWHERE = "Whoever has the address with its token can open the page."
# Nothing comes from other hosts: Voila's template asks for an icon font.
POLICY = (
    "default-src 'self' data: blob: ws: wss: 'unsafe-inline' 'unsafe-eval'; "
    "frame-ancestors 'self'"
)


class Page(Voila):
    """Serve one notebook to this machine, or with a token to others."""

    def initialize(self, argv=None):
        """Read the options; an address beyond this machine needs a token."""
        super().initialize(argv)
        here = self.ip in LOCAL
        self.auto_token = self.auto_token or not (here or self.token)
        self.tornado_settings = {
            "allow_remote_access": not here,
            "disable_check_xsrf": True,  # leaving a page ends its kernel
            "headers": {"Content-Security-Policy": POLICY},
        }
        print(ONLY_HERE if here else ANYWHERE, flush=True)


def main(argv=None):
    """Serve the page until Ctrl-C."""
    config = Config()
    config.MappingKernelManager.cull_idle_timeout = 60  # seconds
    config.MappingKernelManager.cull_interval = 10
    config.KernelManager.transport_encryption = "auto"
    config.VoilaConfiguration.strip_sources = True
    Page.launch_instance([str(NOTEBOOK), *(argv or [])], config=config)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
