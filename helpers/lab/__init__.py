"""Where a learner begins: the start page, working copies, JupyterLab."""
