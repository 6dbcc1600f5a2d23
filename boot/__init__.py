"""The composition root of Doorito."""
