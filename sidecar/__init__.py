"""A reverse-proxy sidecar that stops and rolls back the AI-chat turns its clients abandon."""
