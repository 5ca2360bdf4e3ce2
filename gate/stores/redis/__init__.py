"""The stores in Redis or Valkey."""
