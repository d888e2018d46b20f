"""What is made of what was seen: pure, a file for each part of the examination, a function for each check."""
