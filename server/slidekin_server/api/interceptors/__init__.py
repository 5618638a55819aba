"""What happens around every call, whatever its handler does: one module for each layer."""
