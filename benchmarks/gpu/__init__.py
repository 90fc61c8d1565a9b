"""What the program does on a real NVIDIA card, and what it says on machines that are not here."""
