"""HTTP towards the legacy backend: the relay's raw connection and its pool, and the admin API's calls."""
