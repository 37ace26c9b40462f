"""Run the kernel on arrays that are checked: features of molecules, of tensors, of atoms."""
