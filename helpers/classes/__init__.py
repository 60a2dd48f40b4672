"""Hand out the course to a class, collect what it wrote, and grade it."""
