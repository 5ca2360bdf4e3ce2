"""The stores in Kafka: events, decisions, topics."""
