"""The bench: what the sidecar costs, beside what people would use in its place. See bench/README.md."""
