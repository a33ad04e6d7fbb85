"""Records of whole populations answered, and what that shows."""
