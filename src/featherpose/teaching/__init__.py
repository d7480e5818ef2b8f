"""From pictures of people to a training set: who is in them, what a teacher says, what is kept of it."""
