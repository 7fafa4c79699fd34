"""The architectures, sized by their configurations."""
