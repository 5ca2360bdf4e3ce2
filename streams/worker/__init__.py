"""The stream worker: a Faust app fed by a consumer of its own, one transaction a batch."""
