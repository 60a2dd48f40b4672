"""What makes a long run safe and fast: files, guards, speed, reports."""
