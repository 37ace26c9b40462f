"""What a caller runs: the kernel with its arguments checked, for molecules, tensors and atoms."""
