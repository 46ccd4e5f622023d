"""Masks certified and delivered into a CRDS cache, and deliveries taken back."""
