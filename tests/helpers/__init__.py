"""What tests share beside fixtures; what others need as well stands in `harness.testing`."""
