"""What the program does, measured: of GPU memory, on a card, and beside others."""
