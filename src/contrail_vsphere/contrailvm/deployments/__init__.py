"""What an operator writes: the deployments file, checked as a whole, its names resolved once."""
