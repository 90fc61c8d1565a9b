"""Training of one configuration, inside the child."""
