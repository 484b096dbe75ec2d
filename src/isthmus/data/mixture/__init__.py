"""Several data sets as one: which shares they have, and which row of which is drawn when."""
