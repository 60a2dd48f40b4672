"""What learners write, right and wrong, one module a lesson."""
