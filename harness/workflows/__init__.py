"""The commands of the program, one module each, and what several of them share."""
