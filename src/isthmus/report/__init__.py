"""Numbers to one HTML page: self-contained, readable offline, on paper and in the dark."""
