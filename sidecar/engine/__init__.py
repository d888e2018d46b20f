"""Makes turns happen. Knows neither HTTP nor SQL: what it needs of either is named in `ports`."""
