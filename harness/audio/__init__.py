"""Files to tracks, tracks to features, features to crops."""
