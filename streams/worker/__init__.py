"""The stream worker: a Faust app with its own consumer, which commits batches in Kafka transactions."""
