"""Real clusters for tests, on one machine; README.md says how to use them."""
