"""Where stories come from: a grammar of our own, and the hub."""
