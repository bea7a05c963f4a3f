"""What the recipe's shell calls: stage marks, the local launcher, the environment."""
