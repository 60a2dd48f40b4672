"""The usual mistakes in the functions of lesson 01."""
