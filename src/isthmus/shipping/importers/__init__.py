"""Published layouts, one file each: their names for weights beside ours, and their settings."""
