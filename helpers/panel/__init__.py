"""The sampling panel of lesson 07: knobs, writer, looks."""

from helpers.panel.knobs import SamplingPanel, sampling_panel

__all__ = ["SamplingPanel", "sampling_panel"]
