"""A stand-in for the NVIDIA driver: `libnvidia-ml.so.1` in C, compiled where it is needed."""
