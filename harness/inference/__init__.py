"""A trained model in use: audio files in, genres out."""
