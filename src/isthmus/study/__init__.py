"""Many runs to one table: which choice is better, by how much, and how sure that is."""
