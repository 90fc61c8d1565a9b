"""Features of tracks: extracted once, stored, augmented, and cut into crops."""
